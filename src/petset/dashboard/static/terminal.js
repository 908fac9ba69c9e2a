// A terminal in a container: a shell by exec over WebSocket, shown by xterm.js, which is read when the first is opened.
//
// xterm writes style elements and attributes, which this page may not have. It is given a document whose style elements
// are adopted style sheets; while it opens the page's own one is so, too, since xterm makes one element past the document
// that it is given. Style attributes of spans go by the object model, which any page may use.

import { pathOf, socket } from "./api.js";
import { html, useEffect, useRef, useState } from "./view.js";

const SHELL = ["sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash || exec sh"];
const STDIN = 0;
const ERRORS = 3;
const RESIZE = 4;
const PROTOCOL = "v5.channel.k8s.io";

export function TerminalTab({ pod, container }) {
  const box = useRef();
  const [said, say] = useState("opening");
  const [life, again] = useState(0);
  const { namespace, name, uid } = pod.metadata;
  useEffect(() => {
    let close = () => {};
    let isOver = false;
    open(box.current, namespace, name, container, say).then((closing) => {
      close = closing;
      if (isOver) close();
    }, (error) => say(error.message));
    return () => {
      isOver = true;
      close();
    };
  }, [uid, container, life]);
  return html`<div class="terminal"><div class="log-bar"><span role="status">${said}</span><span class="gap"></span><span class="hint">F6 leaves the terminal</span>
    <button type="button" class="plain" onClick=${() => again(life + 1)}>New shell</button></div>
    <div class="screen" ref=${box}></div></div>`;
}

async function open(box, namespace, name, container, say) {
  const [{ Terminal }, { FitAddon }] = await Promise.all([import("./vendor/xterm.js"), import("./vendor/xterm-fit.js"), styled()]);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const sheets = [];
  const make = elementsOf(sheets);
  const terminal = new Terminal({
    documentOverride: documentWith(make),
    fontFamily: colour("--mono"),
    fontSize: 13,
    cursorBlink: true,
    scrollback: 5000,
    theme: { background: "#191b1a", foreground: "#e8e5dc", cursor: "#6fd0b9", selectionBackground: "#41524d" },
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  box.textContent = "";
  document.createElement = make;
  try {
    terminal.open(box);
  } finally {
    delete document.createElement;
  }
  terminal.attachCustomKeyEventHandler((event) => {
    if (event.key !== "F6") return true;
    document.querySelector(".inspector [role=tab][aria-selected=true]")?.focus();
    return false;
  });
  const query = new URLSearchParams([["container", container], ["stdin", "true"], ["stdout", "true"], ["tty", "true"], ...SHELL.map((word) => ["command", word])]);
  const opened = socket(`${pathOf("pods", namespace, name, "exec")}?${query}`, [PROTOCOL]);
  const encoder = new TextEncoder();
  const send = (channel, data) => opened.readyState === WebSocket.OPEN && opened.send(new Uint8Array([channel, ...data]));
  const resized = () => send(RESIZE, encoder.encode(JSON.stringify({ Width: terminal.cols, Height: terminal.rows })));
  const watcher = new ResizeObserver(() => requestAnimationFrame(() => fit.fit()));
  opened.onopen = () => {
    say(`a shell in ${container}`);
    fit.fit();
    resized();
    terminal.focus();
  };
  opened.onmessage = ({ data }) => {
    const message = new Uint8Array(data);
    if (message[0] !== ERRORS) terminal.write(message.subarray(1));
    else say(ended(new TextDecoder().decode(message.subarray(1))));
  };
  opened.onclose = () => say((said) => (said.startsWith("opening") ? "cannot open a terminal: the container does not run, or is simulated" : said.startsWith("a shell") ? "the connection is lost" : said));
  terminal.onData((text) => send(STDIN, encoder.encode(text)));
  terminal.onResize(resized);
  watcher.observe(box);
  return () => {
    watcher.disconnect();
    opened.close();
    terminal.dispose();
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((sheet) => !sheets.includes(sheet));
  };
}

function ended(text) {
  try {
    const status = JSON.parse(text);
    return status.status === "Success" ? "the shell has ended" : `the shell has ended: ${status.message}`;
  } catch {
    return text;
  }
}

let styles = null;

function styled() {
  styles ??= new Promise((resolve, reject) => {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "vendor/xterm.css", onload: resolve, onerror: reject });
    document.head.append(link);
  });
  return styles;
}

// Of a colour that is none of the palette xterm writes the style attribute of a span.
HTMLSpanElement.prototype.setAttribute = function setAttribute(name, value) {
  if (name === "style") this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
};

// How elements are made: style elements are templates, which show nothing, and what is written into one is a style sheet
// that the document adopts.
function elementsOf(sheets) {
  const create = Document.prototype.createElement;
  return (tag, options) => {
    if (tag !== "style") return create.call(document, tag, options);
    const element = create.call(document, "template");
    const sheet = new CSSStyleSheet();
    sheets.push(sheet);
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    let text = "";
    const written = { get: () => text, set: (css) => sheet.replaceSync((text = css)) };
    return Object.defineProperty(element, "textContent", written);
  };
}

// The page's document, but for how it makes elements.
function documentWith(make) {
  return new Proxy(document, {
    get(target, name) {
      if (name === "createElement") return make;
      const value = target[name];
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
