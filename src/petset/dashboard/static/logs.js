// A container's log, followed: by WebSocket, the last lines first. Lines go into the page once a frame, past Preact.

import { get, pathOf, socket } from "./api.js";
import { containers } from "./pets.js";
import { html, useEffect, useRef, useState } from "./view.js";

const TAIL_LINES = 500;
const LINES_MAX = 4000;
const ESCAPES = /\x1b\[[0-9;?]*[ -/]*[@-~]|\r/g;
const AT_END_PIXELS = 30;

export function Logs({ pod, container, wasBefore }) {
  const [isWrapped, wrap] = useState(true);
  const [said, say] = useState("");
  const box = useRef();
  const { namespace, name, uid } = pod.metadata;
  const status = containers(pod).find((one) => one.name === container);
  const life = wasBefore ? "" : (status?.containerID ?? status?.state?.waiting?.reason ?? "");
  useEffect(() => follow(box.current, `${pathOf("pods", namespace, name, "log")}?container=${encodeURIComponent(container)}&tailLines=${TAIL_LINES}${wasBefore ? "&previous=true" : "&follow=true"}`, say), [uid, container, wasBefore, life]);
  return html`<div class="log">
    <div class="log-bar"><span role="status">${said}</span><span class="gap"></span>
      <label class="check"><input type="checkbox" checked=${isWrapped} onChange=${(event) => wrap(event.target.checked)} /> wrap</label></div>
    <pre ref=${box} class=${isWrapped ? "wrapped" : ""} tabindex="0" role="log" aria-label=${`Log of ${container}`}></pre></div>`;
}

// Until what is returned is called.
function follow(box, path, say) {
  const decoder = new TextDecoder();
  const opened = socket(path, ["binary.k8s.io"]);
  let waiting = "";
  let isAsked = false;
  let isOver = false;
  let isOpen = false;
  box.textContent = "";
  say("reading");
  const show = () => {
    isAsked = false;
    if (isOver) return;
    const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < AT_END_PIXELS;
    const lines = document.createTextNode(waiting.replace(ESCAPES, ""));
    waiting = "";
    box.append(lines);
    if (box.childNodes.length > LINES_MAX / 4) {
      box.textContent = box.textContent.split("\n").slice(-LINES_MAX).join("\n");
    }
    if (isAtEnd) box.scrollTop = box.scrollHeight;
  };
  opened.onopen = () => {
    isOpen = true;
    say("following");
  };
  opened.onmessage = ({ data }) => {
    waiting += decoder.decode(data, { stream: true });
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(show);
  };
  opened.onclose = async () => {
    if (isOver) return;
    if (isOpen) return say("the log has ended");
    const why = await get(`${path.replace("&follow=true", "")}&limitBytes=1`, { accept: "*/*" }).then(() => "the connection is lost", (error) => error.message);
    if (!isOver) say(why);
  };
  return () => {
    isOver = true;
    opened.close();
  };
}
