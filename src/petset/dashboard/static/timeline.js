// Events as a timeline, the newest first, each with the pet or object that it is about.

import { pluralOf } from "./api.js";
import { age, ordinalOf } from "./pets.js";
import { addressOf, html, isIn, memo, useShared, useState } from "./view.js";

const SHOWN_EVENTS_MAX = 300;

const timeOf = (event) => event.series?.lastObservedTime ?? event.lastTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp;

export function newest(events) {
  const revision = (event) => Number(event.metadata.resourceVersion); // Times are of seconds; this tells which was later.
  return [...events].sort((one, other) => Date.parse(timeOf(other)) - Date.parse(timeOf(one)) || revision(other) - revision(one)).slice(0, SHOWN_EVENTS_MAX);
}

export function Timeline() {
  const { cluster, namespace, now } = useShared();
  const [sought, seek] = useState("");
  const [onlyWarnings, limit] = useState(false);
  const words = sought.toLowerCase();
  const events = newest(
    [...cluster.all("events").values()].filter(isIn(namespace)).filter((event) => {
      if (onlyWarnings && event.type !== "Warning") return false;
      return !words || `${event.involvedObject?.name} ${event.reason} ${event.message}`.toLowerCase().includes(words);
    }),
  );
  return html`<section aria-label="Timeline">
    <div class="bar"><label><span class="unseen">Search in events</span><input class="field" type="search" placeholder="name, reason or words" value=${sought} onInput=${(event) => seek(event.target.value)} /></label>
      <label class="check"><input type="checkbox" checked=${onlyWarnings} onChange=${(event) => limit(event.target.checked)} /> warnings only</label></div>
    <${Events} events=${events} now=${now} view="timeline" />
  </section>`;
}

export function Events({ events, now, view, isAboutOne }) {
  if (!events.length) return html`<p class="soft">No events are kept; they go after an hour.</p>`;
  let minute = "";
  return html`<ol class="timeline">${events.map((event) => {
    const at = new Date(timeOf(event));
    const here = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
    const begins = here !== minute;
    minute = here;
    return html`<${Told} key=${event.metadata.uid} event=${event} clock=${begins ? here : ""} ago=${age(timeOf(event), now)} view=${view} isAboutOne=${isAboutOne} />`;
  })}</ol>`;
}

const Told = memo(({ event, clock, ago, view, isAboutOne }) => {
  const about = event.involvedObject ?? {};
  const plural = pluralOf(about.kind);
  const number = about.kind === "Pod" ? ordinalOf(about.name ?? "") : -1;
  const isWarning = event.type === "Warning";
  const count = event.series?.count ?? event.count ?? 1;
  return html`<li class=${isWarning ? "warning" : ""}>
    <time>${clock}</time><span class="bead" aria-hidden="true">${number >= 0 ? number : ""}</span>
    <div><p>${!isAboutOne && html`<a class="about" href=${plural ? addressOf(view, { plural, namespace: about.namespace, name: about.name }) : undefined}>${about.name}</a> `}<strong>${event.reason}</strong>${isWarning && html`<span class="unseen"> (warning)</span>`}
      ${count > 1 && html` <span class="soft">${count} times</span>`} <span class="soft">${ago} ago</span></p><p class="message">${event.message}</p></div></li>`;
});
