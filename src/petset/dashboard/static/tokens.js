// A pet as a token: its number, its state as shape and colour, and beneath it the tray that is its volume.
//
// The shape tells the state without its colour: ready is filled, running is filled half, starting and waiting are
// outlines, stopping is hatched, failing has a thick edge, and who is not there is dotted. A token of another revision
// than the newest has its corner cut. The tray is there as long as the claim is: it outlives its pet.

import { STATES, restarts, revisionOf } from "./pets.js";
import { html, memo } from "./view.js";

function spoken(place, isOld, wait, claims) {
  const parts = [place.name, STATES[place.state]];
  if (isOld) parts.push("older revision");
  const count = restarts(place.pod);
  if (count) parts.push(`${count} restart${count > 1 ? "s" : ""}`);
  if (wait) parts.push(`waits for number ${wait.on}`);
  if (claims) parts.push(claims === "bound" ? "has its volume" : "its volume is pending");
  if (!place.isWanted) parts.push("one too many");
  return parts.join(", ");
}

export const Token = memo(
  ({ place, isOld, wait, claims, use, isChosen, onChoose }) => {
    const count = restarts(place.pod);
    const classes = ["token", place.state, place.ordinal < 0 && "cattle", isOld && "old", !place.isWanted && "surplus", isChosen && "chosen"].filter(Boolean).join(" ");
    return html`<button type="button" class=${classes} aria-pressed=${isChosen} data-pet=${place.name} data-state=${place.state}
      aria-label=${spoken(place, isOld, wait, claims)} title=${spoken(place, isOld, wait, claims)} onClick=${() => onChoose(place)}>
      <span class="face"><span class="number">${place.ordinal < 0 ? "" : place.ordinal}</span>${count > 0 && html`<span class="restarts">${count > 99 ? "99+" : count}</span>`}</span>
      <span class=${`tray ${claims || "none"}`}>${claims === "bound" && use > 0 && html`<span class="fill" style=${{ width: `${Math.min(100, use * 100)}%` }}></span>`}</span>
    </button>`;
  },
  (one, other) =>
    one.place.pod === other.place.pod && one.place.state === other.place.state && one.place.name === other.place.name &&
    one.place.isWanted === other.place.isWanted && one.isOld === other.isOld && one.wait?.on === other.wait?.on &&
    one.claims === other.claims && one.use === other.use && one.isChosen === other.isChosen,
);

export function isOld(set, place) {
  const target = set.status?.updateRevision;
  return Boolean(target && place.pod && revisionOf(place.pod) && revisionOf(place.pod) !== target);
}
