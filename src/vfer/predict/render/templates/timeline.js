"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const element = (id) => document.getElementById(id);
  const video = element("video"), overlay = element("overlay"), lanes = element("lanes"), tip = element("tip");
  const LANE = 132, STRIP = 22, AXIS = 34, FLAGS = 5;
  const view = { from: data.start, to: data.end };
  const hidden = new Set();
  let now = data.start, hover = null, playable = true, dirty = true, plain = false;

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const people = data.people.map((one) => ({
    ...one,
    time: new Float32Array(bytes(one.time).buffer),
    smooth: bytes(one.smooth),
    plain: one.plain ? bytes(one.plain) : null,
    box: new Int16Array(bytes(one.box).buffer),
    doubt: bytes(one.doubt),
  }));
  const segments = people.flatMap((one, person) => one.segments.map((segment) => ({ ...segment, person })))
    .sort((a, b) => a.start - b.start || a.person - b.person);
  const classes = data.classes.length;
  const colour = (index) => index < 0 ? data.uncertain : data.colours[index];
  const title = (segment) => segment.expression < 0 ? "uncertain" : data.classes[segment.expression];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const clock = (seconds) => {
    const tenths = Math.round(Math.max(seconds, 0) * 10), hours = Math.floor(tenths / 36000);
    const minutes = Math.floor(tenths / 600) % 60, rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
    return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
  };
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  /** Index of the last time that is not after `at`; -1 where all are. */
  function before(times, at) {
    let low = 0, high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] <= at + 1e-4) low = middle + 1; else high = middle;
    }
    return low - 1;
  }

  /** The frame that a person is shown in at a time, or -1. */
  function frameAt(person, at) {
    const index = before(person.time, at);
    return index >= 0 && at - person.time[index] <= data.gap ? index : -1;
  }

  const shares = (person) => plain && person.plain ? person.plain : person.smooth;

  function make(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  // ---- the page's parts -------------------------------------------------------------------------------------------------------

  people.forEach((person) => {
    const label = make("div", { className: "label" }, make("strong", { textContent: person.name }), `${person.seconds} s`);
    const best = person.segments.filter((one) => one.picture).sort((a, b) => b.confidence - a.confidence)[0];
    if (best) label.append(make("br"), make("img", { src: best.picture, alt: "" }));
    person.canvas = make("canvas");
    lanes.append(make("div", { className: "lane" }, label, person.canvas));
  });

  data.classes.forEach((name, index) => {
    const button = make("button", { type: "button", textContent: name });
    button.style.setProperty("--colour", colour(index));
    button.setAttribute("aria-pressed", "true");
    button.onclick = () => toggle(index);
    element("legend").append(button);
  });

  function toggle(index) {
    const button = element("legend").children[index];
    if (!button) return;
    if (!hidden.delete(index)) hidden.add(index);
    button.setAttribute("aria-pressed", String(!hidden.has(index)));
    redraw();
  }

  segments.forEach((segment) => {
    const picture = make("td");
    if (segment.picture) picture.append(make("img", { src: segment.picture, alt: "" }));
    const dot = make("span", { className: "dot" });
    dot.style.setProperty("--colour", colour(segment.expression));
    const cells = [people[segment.person].name, null, clock(segment.start), clock(segment.end), segment.confidence.toFixed(2), segment.flags];
    segment.row = make("tr", { tabIndex: 0 }, picture, ...cells.map((text) =>
      text === null ? make("td", {}, dot, title(segment)) : make("td", { textContent: text })));
    segment.row.onclick = () => seek(segment.peak);
    segment.row.onkeydown = (event) => { if (event.key === "Enter") seek(segment.peak); };
    element("segments").append(segment.row);
  });

  // ---- drawing ----------------------------------------------------------------------------------------------------------------

  function prepare(canvas, height) {
    const scale = window.devicePixelRatio || 1, width = canvas.parentElement.lastElementChild.clientWidth || canvas.clientWidth;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.style.height = `${height}px`;
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    return { pen, width, x: (time) => (time - view.from) / (view.to - view.from) * width };
  }

  function drawAxis() {
    const { pen, width, x } = prepare(element("axis"), AXIS);
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
    const step = steps.find((one) => x(view.from + one) > 74) || 7200;
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    for (let time = Math.ceil(view.from / step) * step; time <= view.to; time += step) {
      pen.fillStyle = css("--line");
      pen.fillRect(Math.round(x(time)), AXIS - 8, 1, 8);
      pen.fillStyle = css("--soft");
      const text = step < 1 ? clock(time) : clock(time).slice(0, -2);
      pen.fillText(text, clamp(x(time) + 4, 0, width - pen.measureText(text).width), 13);
    }
    head(pen, x, AXIS, true);
  }

  function head(pen, x, height, handle) {
    pen.fillStyle = css("--accent");
    pen.fillRect(x(now) - 1, 0, 2, height);
    if (handle) {
      pen.beginPath();
      pen.moveTo(x(now) - 6, 0); pen.lineTo(x(now) + 6, 0); pen.lineTo(x(now), 9);
      pen.fill();
    }
    if (hover !== null) {
      pen.fillStyle = css("--soft");
      pen.fillRect(Math.round(x(hover)), 0, 1, height);
    }
  }

  function drawLane(person) {
    const { pen, width, x } = prepare(person.canvas, LANE);
    const top = STRIP + 6, bottom = LANE - FLAGS - 3, values = shares(person);
    pen.fillStyle = css("--line");
    data.shots.forEach((start) => { if (start > data.start) pen.fillRect(Math.round(x(start)), 0, 1, LANE); });
    [0, 0.5, 1].forEach((level) => pen.fillRect(0, Math.round(bottom - level * (bottom - top)), width, level === 0.5 ? 0.5 : 1));
    drawStrip(pen, person, x, width);
    const first = Math.max(before(person.time, view.from), 0), last = Math.min(before(person.time, view.to) + 1, person.time.length - 1);
    const every = Math.max(1, Math.floor((last - first) / (2 * width)));
    pen.lineWidth = 1.6;
    pen.lineJoin = "round";
    for (let index = 0; index < classes; index += 1) {
      if (hidden.has(index)) continue;
      pen.strokeStyle = colour(index);
      pen.beginPath();
      let gone = -Infinity;
      for (let at = first; at <= last; at += every) {
        let share = values[at * classes + index];
        for (let next = at + 1; next < Math.min(at + every, last + 1); next += 1) share = Math.max(share, values[next * classes + index]);
        const height = bottom - share / 255 * (bottom - top), time = person.time[at];
        if (time - gone > data.gap + every * data.period) pen.moveTo(x(time), height); else pen.lineTo(x(time), height);
        gone = time;
      }
      pen.stroke();
    }
    pen.fillStyle = css("--soft");
    for (let at = first; at <= last; at += every) {
      if (person.doubt[at]) pen.fillRect(x(person.time[at]), LANE - FLAGS, Math.max(x(person.time[at] + data.period * every) - x(person.time[at]), 1), FLAGS);
    }
    head(pen, x, LANE, false);
  }

  function drawStrip(pen, person, x, width) {
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    person.segments.forEach((segment) => {
      const left = Math.max(x(segment.start), 0), right = Math.min(x(segment.end), width);
      if (right <= 0 || left >= width) return;
      pen.globalAlpha = hidden.has(segment.expression) ? 0.25 : 1;
      pen.fillStyle = colour(segment.expression);
      pen.fillRect(left, 2, Math.max(right - left - 1, 1), STRIP - 4);
      const text = title(segment);
      if (pen.measureText(text).width + 10 < right - left) {
        pen.fillStyle = data.inks[segment.expression < 0 ? classes : segment.expression];
        pen.fillText(text, left + 5, STRIP / 2);
      }
      pen.globalAlpha = 1;
    });
  }

  function drawNow() {
    const panel = element("now"), cards = [];
    people.forEach((person) => {
      const index = frameAt(person, now);
      if (index < 0) return;
      const values = shares(person);
      const ranked = data.classes.map((name, number) => [values[index * classes + number] / 255, number]).sort((a, b) => b[0] - a[0]);
      const segment = person.segments.find((one) => one.start <= now + 1e-4 && now < one.end + 1e-4);
      const card = make("article", { className: "card" },
        make("h3", {}, person.name, make("span", { textContent: segment ? title(segment) : data.classes[ranked[0][1]] })));
      card.style.setProperty("--colour", colour(segment ? segment.expression : ranked[0][1]));
      ranked.slice(0, 3).forEach(([share, number]) => {
        const meter = make("i");
        meter.style.cssText = `width:${Math.round(share * 100)}%;--colour:${colour(number)}`;
        card.append(make("div", { className: "meter" }, make("span", { textContent: data.classes[number] }), meter, make("b", { textContent: share.toFixed(2) })));
      });
      cards.push(card);
    });
    if (!cards.length) cards.push(make("p", { className: "soft", textContent: people.length ? "Nobody is shown here." : "" }));
    panel.replaceChildren(...cards);
  }

  function drawOverlay() {
    const scale = window.devicePixelRatio || 1, width = overlay.clientWidth, height = overlay.clientHeight;
    overlay.width = width * scale;
    overlay.height = height * scale;
    const pen = overlay.getContext("2d");
    pen.scale(scale, scale);
    const ratio = Math.min(width / data.width, height / data.height);
    const left = (width - data.width * ratio) / 2, top = (height - data.height * ratio) / 2;
    pen.font = "600 13px system-ui, sans-serif";
    people.forEach((person) => {
      const index = frameAt(person, now);
      if (index < 0) return;
      const segment = person.segments.find((one) => one.start <= now + 1e-4 && now < one.end + 1e-4);
      const shade = segment ? segment.expression : -1;
      const [x0, y0, x1, y1] = [0, 1, 2, 3].map((side) => person.box[index * 4 + side] * ratio + (side % 2 ? top : left));
      pen.strokeStyle = colour(shade);
      pen.lineWidth = 2.5;
      pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
      const text = segment ? `${person.name}: ${title(segment)}` : person.name;
      const wide = pen.measureText(text).width + 10, high = y0 > 22 ? y0 - 20 : y1;
      pen.fillStyle = colour(shade);
      pen.fillRect(x0 - 1, high, wide, 20);
      pen.fillStyle = data.inks[shade < 0 ? classes : shade];
      pen.fillText(text, x0 + 4, high + 14);
    });
  }

  function redraw() { dirty = true; }

  function frame() {
    if (playable && !video.paused) {
      move(video.currentTime);
      if (now > view.to || now < view.from) pan(now - view.from - 0.1 * (view.to - view.from));
    }
    if (dirty) {
      dirty = false;
      drawAxis();
      people.forEach(drawLane);
      drawNow();
      if (playable) drawOverlay();
      element("clock").textContent = `${clock(now)} / ${clock(data.end)}`;
    }
    requestAnimationFrame(frame);
  }

  // ---- moving about -----------------------------------------------------------------------------------------------------------

  function move(time) {
    const at = clamp(time, data.start, data.end);
    if (at === now) return;
    now = at;
    segments.forEach((one) => one.row.classList.toggle("on", one.start <= now && now < one.end));
    redraw();
  }

  function seek(time) {
    move(time);
    if (playable) video.currentTime = now;
    if (now < view.from || now > view.to) pan(now - (view.from + view.to) / 2);
  }

  function zoom(factor, around = now) {
    const whole = data.end - data.start, length = clamp((view.to - view.from) * factor, Math.min(0.5, whole), whole);
    const part = clamp((around - view.from) / (view.to - view.from), 0, 1);
    view.from = clamp(around - part * length, data.start, data.end - length);
    view.to = view.from + length;
    redraw();
  }

  function pan(shift) {
    const length = view.to - view.from;
    view.from = clamp(view.from + shift, data.start, data.end - length);
    view.to = view.from + length;
    redraw();
  }

  function play() {
    if (!playable) return;
    if (video.paused) video.play().catch(() => {}); else video.pause();
  }

  function step(direction) {
    const next = direction > 0 ? segments.find((one) => one.start > now + 1e-3) : segments.filter((one) => one.start < now - 1e-3).pop();
    if (next) seek(next.start);
  }

  function theme() {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    redraw();
  }

  function timeAt(event) {
    const area = element("axis").getBoundingClientRect();
    return view.from + clamp((event.clientX - area.left) / area.width, 0, 1) * (view.to - view.from);
  }

  function showTip(event) {
    const person = people.find((one) => one.canvas === event.target);
    const index = person ? frameAt(person, hover) : -1;
    const lines = [make("strong", { textContent: `${clock(hover)}${person ? ` ${person.name}` : ""}` })];
    if (index >= 0) {
      const values = shares(person);
      data.classes.map((name, number) => [values[index * classes + number], name]).sort((a, b) => b[0] - a[0]).slice(0, 4)
        .forEach(([share, name]) => lines.push(make("div", { textContent: `${name} ${(share / 255).toFixed(2)}` })));
      const doubts = data.flags.filter((_, bit) => person.doubt[index] >> bit & 1);
      if (doubts.length) lines.push(make("div", { className: "soft", textContent: doubts.join(", ") }));
    }
    tip.replaceChildren(...lines);
    tip.hidden = false;
    const area = tip.getBoundingClientRect();
    tip.style.left = `${clamp(event.clientX + 14, 4, innerWidth - area.width - 4)}px`;
    tip.style.top = `${event.clientY + 18 + area.height > innerHeight ? event.clientY - area.height - 10 : event.clientY + 18}px`;
  }

  lanes.addEventListener("pointerdown", (event) => {
    if (!(event.target instanceof HTMLCanvasElement)) return;
    event.target.setPointerCapture(event.pointerId);
    seek(timeAt(event));
  });
  lanes.addEventListener("pointermove", (event) => {
    if (!(event.target instanceof HTMLCanvasElement)) return;
    hover = timeAt(event);
    if (event.buttons & 1) seek(hover);
    showTip(event);
    redraw();
  });
  lanes.addEventListener("pointerleave", () => { hover = null; tip.hidden = true; redraw(); });
  lanes.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey) zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2, timeAt(event));
    else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan(event.deltaX / lanes.clientWidth * (view.to - view.from));
    else return;
    event.preventDefault();
  }, { passive: false });
  lanes.addEventListener("dblclick", (event) => {
    const person = people.find((one) => one.canvas === event.target), at = timeAt(event);
    const segment = person && person.segments.find((one) => one.start <= at && at < one.end);
    if (!segment) return;
    const room = 0.15 * (segment.end - segment.start) + 0.1;
    view.from = clamp(segment.start - room, data.start, data.end);
    view.to = clamp(segment.end + room, view.from + 0.1, data.end);
    redraw();
  });

  const keys = {
    " ": play, j: () => step(-1), k: () => step(1), "+": () => zoom(1 / 1.5), "=": () => zoom(1 / 1.5), "-": () => zoom(1.5), 0: () => zoom(Infinity),
    ",": () => seek(now - 1 / data.rate), ".": () => seek(now + 1 / data.rate), t: theme,
    ArrowLeft: (event) => seek(now - (event.shiftKey ? 10 : 1)), ArrowRight: (event) => seek(now + (event.shiftKey ? 10 : 1)),
    Home: () => seek(data.start), End: () => seek(data.end),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || (event.key === " " && event.target instanceof HTMLButtonElement)) return;
    if (event.key >= "1" && event.key <= "9") toggle(Number(event.key) - 1);
    else if (keys[event.key]) keys[event.key](event);
    else return;
    event.preventDefault();
  });

  element("play").onclick = play;
  element("in").onclick = () => zoom(1 / 1.5);
  element("out").onclick = () => zoom(1.5);
  element("fit").onclick = () => zoom(Infinity);
  element("theme").onclick = theme;
  element("keys").onclick = () => {
    element("help").hidden = !element("help").hidden;
    element("keys").setAttribute("aria-expanded", String(!element("help").hidden));
  };
  if (element("plain")) element("plain").onchange = (event) => { plain = event.target.checked; redraw(); };
  video.addEventListener("play", () => { element("play").textContent = "❚❚ Pause"; });
  video.addEventListener("pause", () => { element("play").textContent = "▶ Play"; });
  video.addEventListener("seeked", () => move(video.currentTime));
  video.addEventListener("loadedmetadata", redraw);
  video.addEventListener("error", () => {
    playable = false;
    element("absent").hidden = false;
    document.querySelector(".screen").classList.add("none");
    element("play").disabled = true;
    redraw();
  });
  document.querySelector(".screen").onclick = play;
  new ResizeObserver(redraw).observe(document.body);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  move(data.start);
  requestAnimationFrame(frame);
})();
