// A question before something is done: what will happen, what becomes of the data, and two buttons.

import { html, useEffect, useRef, useState } from "./view.js";

export function Question({ action, onClose }) {
  const dialog = useRef();
  const [value, put] = useState(action.input?.value);
  const [isChosen, choose] = useState(false);
  const [failure, fail] = useState("");
  const [isDoing, begin] = useState(false);
  useEffect(() => {
    dialog.current.showModal();
    dialog.current.querySelector("input[name=value]")?.select();
  }, []);
  const carryOut = async (event) => {
    event.preventDefault();
    begin(true);
    try {
      await action.does(value, isChosen);
      dialog.current.close();
    } catch (error) {
      fail(error.message);
      begin(false);
    }
  };
  return html`<dialog ref=${dialog} onClose=${onClose} aria-labelledby="question"><form onSubmit=${carryOut}>
    <h3 id="question">${action.title}</h3>
    ${action.input && html`<label class="put">${action.input.label}
      <input class="field" name="value" required type=${action.input.type} min=${action.input.min} max=${action.input.max} value=${value} onInput=${(event) => put(event.target.value)} /></label>`}
    ${action.says(value, isChosen).map((said) => html`<p key=${said.text ?? said} class=${said.danger ? "error" : ""}>${said.text ?? said}</p>`)}
    ${action.choice && html`<label class="check"><input type="checkbox" checked=${isChosen} onChange=${(event) => choose(event.target.checked)} /> ${action.choice}</label>`}
    ${failure && html`<p class="error" role="alert">${failure}</p>`}
    <div class="buttons"><button type="button" class="plain" onClick=${() => dialog.current.close()}>Leave it</button>
      <button type="submit" class=${action.danger ? "danger" : "main"} disabled=${isDoing}>${action.label}</button></div>
  </form></dialog>`;
}
