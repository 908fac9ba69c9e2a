// Why something does not get on, in the server's own sentences: the last cause, and what mends it.

import { get } from "./api.js";
import { pathOfChosen } from "./paths.js";
import { html, useEffect, useNow, useState } from "./view.js";

const PAUSE_MS = 400; // Between a change and the next question.
const AGAIN_MS = 15_000; // The cause may be of another object than the one that is looked at.
const WELL = "well";

export function Why({ chosen, version, otherwise }) {
  const [answer, hold] = useState(null);
  const path = pathOfChosen(chosen);
  const tick = useNow(AGAIN_MS);
  useEffect(() => hold(null), [path]);
  useEffect(() => {
    const asking = new AbortController();
    const timer = setTimeout(() => get(`/petset/why${path}`, { signal: asking.signal }).then(hold, () => {}), PAUSE_MS);
    return () => {
      clearTimeout(timer);
      asking.abort();
    };
  }, [path, version, tick]);
  if (!answer || answer.state === WELL) return otherwise ? html`<p class="reason">${otherwise}</p>` : null;
  return html`<section class="why-not" aria-label="Why it does not get on"><${Cause} cause=${answer} own=${answer.about} /></section>`;
}

function Cause({ cause, own }) {
  return html`<p>${cause.about === own ? "It " : `${cause.about} `}${cause.says}</p>${cause.mend && html`<p class="mend"><span class="unseen">What mends it: </span>${cause.mend}</p>`}
    ${cause.because?.length > 0 && html`<ul>${cause.because.map((one, index) => html`<li key=${index}><${Cause} cause=${one} own=${own} /></li>`)}</ul>`}`;
}
