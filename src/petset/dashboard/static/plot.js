// A small plot of one figure over the last hour, as far as this page has seen it.

import { age } from "./pets.js";
import { html, memo } from "./view.js";

const WIDTH = 220;
const HEIGHT = 40;
const SPAN_MS_MIN = 300_000; // Of a page that has just been opened.

export const Plot = memo(({ title, series, what, format, now }) => {
  if (!series?.length) return null;
  const most = Math.max(...series.map((one) => one[what]), 1e-9);
  const end = Math.max(now, series.at(-1).at);
  const span = Math.max(SPAN_MS_MIN, end - series[0].at);
  const x = (at) => WIDTH - ((end - at) / span) * WIDTH;
  const y = (value) => HEIGHT - 3 - (value / most) * (HEIGHT - 8);
  const points = series.map((one) => `${x(one.at).toFixed(1)},${y(one[what]).toFixed(1)}`);
  const last = series.at(-1);
  const area = `${x(series[0].at).toFixed(1)},${HEIGHT} ${points.join(" ")} ${x(last.at).toFixed(1)},${HEIGHT}`;
  return html`<figure class="plot"><figcaption>${title} <strong>${format(last[what])}</strong> <span>${age(end - span, end)}</span></figcaption>
    <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${`${title} over the last ${age(end - span, end)}: now ${format(last[what])}, at most ${format(most)}`}>
      <line class="ground" x1="0" x2=${WIDTH} y1=${HEIGHT - 0.5} y2=${HEIGHT - 0.5} /><polygon points=${area} /><polyline points=${points.join(" ")} /><circle cx=${x(last.at)} cy=${y(last[what])} r="2.5" /></svg></figure>`;
});

export const cores = (value) => (value >= 10 ? value.toFixed(0) : value >= 1 ? value.toFixed(2) : `${Math.round(value * 1000)} m`);
