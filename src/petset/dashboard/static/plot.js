// A small plot of one figure over the last hour, as far as this page has seen it.

import { html, memo } from "./view.js";

const WIDTH = 220;
const HEIGHT = 40;
const HOUR_MS = 3_600_000;

export const Plot = memo(({ title, series, what, format, now }) => {
  if (!series?.length) return null;
  const most = Math.max(...series.map((one) => one[what]), 1e-9);
  const x = (at) => WIDTH - ((now - at) / HOUR_MS) * WIDTH;
  const y = (value) => HEIGHT - 3 - (value / most) * (HEIGHT - 8);
  const points = series.map((one) => `${x(one.at).toFixed(1)},${y(one[what]).toFixed(1)}`);
  const last = series.at(-1);
  const area = `${x(series[0].at).toFixed(1)},${HEIGHT} ${points.join(" ")} ${x(last.at).toFixed(1)},${HEIGHT}`;
  return html`<figure class="plot"><figcaption>${title} <strong>${format(last[what])}</strong> <span>most ${format(most)}</span></figcaption>
    <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${`${title} over the last hour: now ${format(last[what])}, at most ${format(most)}`}>
      <line class="ground" x1="0" x2=${WIDTH} y1=${HEIGHT - 0.5} y2=${HEIGHT - 0.5} /><polygon points=${area} /><polyline points=${points.join(" ")} /><circle cx=${x(last.at)} cy=${y(last[what])} r="2.5" /></svg></figure>`;
});

export const cores = (value) => (value >= 10 ? value.toFixed(0) : value >= 1 ? value.toFixed(2) : `${Math.round(value * 1000)} m`);
