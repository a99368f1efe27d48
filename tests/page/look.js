/** What is wrong with how a part of the page looks: too wide, clipped, on top of each other, in another language. */
const NAMES = /\b(IMEI|URL|RFID|iButton|iCalendar|SOS|GPX|KML|CSV|XLSX|GeoJSON|PDF|EUR|UTC|WKT|CIRCLE|POLYGON|LINESTRING|PostgreSQL|TimescaleDB|English|Español|[A-Z]\w+\/[\w /-]+|[\w.]+@[\w.]+)(?![\w])/g;
globalThis.look = (root, language, known) => {
  const found = [];
  const shown = (one) => one.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !one.closest(".visually-hidden, .skip, [hidden]");
  const short = (text) => text.trim().replace(/\s+/g, " ").slice(0, 60);
  const name = (one) => `${one.tagName.toLowerCase()}${[...one.classList].map((each) => `.${each}`).join("")}`;

  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) found.push(`the window scrolls sideways: ${document.documentElement.scrollWidth}`);
  for (const one of root.querySelectorAll(".page, .panel, .details, .scroll, .body, .content, form")) {
    if (one.scrollWidth > one.clientWidth + 1 && shown(one)) found.push(`${name(one)} scrolls sideways: ${one.scrollWidth} of ${one.clientWidth}`);
  }

  /** What is seen of a box: what scrolls or is cut off is left out. */
  const seen = (box, holder) => {
    let { left, right, top, bottom } = box;
    for (let one = holder; one && one !== document.body; one = one.parentElement) {
      if (getComputedStyle(one).overflowX === "visible") continue;
      const edge = one.getBoundingClientRect();
      [left, right, top, bottom] = [Math.max(left, edge.left), Math.min(right, edge.right), Math.max(top, edge.top), Math.min(bottom, edge.bottom)];
    }
    return { left, right, top, bottom, width: right - left, height: bottom - top };
  };

  const texts = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const holder = node.parentElement;
    if (!node.data.trim() || !holder || /^(SCRIPT|STYLE|OPTION|TEXTAREA)$/.test(holder.tagName) || holder.closest("svg, .maplibregl-map") || !shown(holder)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const boxes = [...range.getClientRects()].filter((box) => box.width > 1 && box.height > 1);
    const clipped = boxes.map((box) => seen(box, holder)).filter((box) => box.width > 1 && box.height > 1);
    if (boxes.length) texts.push({ holder, boxes, clipped, text: node.data });
  }

  // out of the box that it stands in
  for (const { holder, boxes, text } of texts) {
    if (holder.closest(".ellipsis") && holder.closest(".ellipsis").scrollWidth > holder.closest(".ellipsis").clientWidth + 1) {
      if (!known.some((each) => text.includes(each))) found.push(`cut short: ${short(text)} (${name(holder)})`);
      continue;
    }
    const frame = holder.closest("button, .button, .chip, .badge, td, th, .figure, .card, .notice, .rail a, dialog, .panel, .details, .toast");
    if (!frame || holder.closest(".tabs")) continue;
    const edge = frame.getBoundingClientRect();
    if (boxes.some((box) => box.left < edge.left - 1 || box.right > edge.right + 1)) found.push(`out of its ${name(frame)}: ${short(text)}`);
    if (frame.matches("button, .button, .chip, .badge, .rail a") && boxes.some((box) => box.top < edge.top - 1 || box.bottom > edge.bottom + 1)) {
      found.push(`higher than its ${name(frame)}: ${short(text)}`);
    }
  }
  for (const one of root.querySelectorAll("select.input, input.input[placeholder]")) {
    if (!shown(one)) continue;
    const style = getComputedStyle(one);
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = style.font;
    const text = one.tagName === "SELECT" ? (one.selectedOptions[0]?.textContent ?? "") : one.value ? "" : one.placeholder;
    const room = one.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - (one.tagName === "SELECT" ? 18 : 0);
    if (pen.measureText(text).width > room + 2) found.push(`does not fit its field: ${short(text)} (${Math.round(pen.measureText(text).width)} of ${Math.round(room)})`);
  }

  // on top of each other, within one layer
  const layer = (one) => one.closest("dialog, .panel, .details, .page, .rail, .toasts, .hint-bar, .player");
  for (let first = 0; first < texts.length; first++) {
    for (let second = first + 1; second < texts.length; second++) {
      const [one, other] = [texts[first], texts[second]];
      if (layer(one.holder) !== layer(other.holder)) continue;
      const both = one.clipped.some((a) => other.clipped.some((b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4));
      if (both && !one.holder.closest("thead") === !other.holder.closest("thead")) found.push(`on top of each other: ${short(one.text)} | ${short(other.text)}`);
    }
  }

  // keys, and words of another language
  const said = texts.filter(({ holder }) => !holder.closest("[translate=no], code")).map(({ text }) => text);
  for (const one of root.querySelectorAll("[aria-label], [title], [placeholder], option")) {
    if (one.closest("[translate=no]")) continue;
    if (one.tagName !== "OPTION" && !shown(one)) continue;
    for (const each of ["aria-label", "title", "placeholder"]) if (one.hasAttribute(each)) said.push(one.getAttribute(each));
    if (one.tagName === "OPTION") said.push(one.textContent);
  }
  for (const each of new Set(said)) {
    let text = each;
    for (const one of known) text = text.replaceAll(one, " ");
    text = text.replace(NAMES, " ");
    if (/^[a-z]+\.[a-zA-Z.]+$/.test(text.trim())) found.push(`a key: ${short(each)}`);
    if (/undefined|NaN|Invalid Date|\[object|\bnull\b/.test(text)) found.push(`no words: ${short(each)}`);
    if (language === "ru" && /[A-Za-z]{3,}/.test(text)) found.push(`not Russian: ${short(each)}`);
    if (language === "es" && /\b(the|and|of|this|that|is|are|not|with|your|you|to|from|all|tracker|trackers|add|day|yet)\b/i.test(text)) found.push(`not Spanish: ${short(each)}`);
  }
  return [...new Set(found)];
};
