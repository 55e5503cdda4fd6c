"use strict";
// The pad: draw a digit, see what the network sees, and its probabilities.

const pad = (() => {
  const SIDE = 280;  // pixels of the pad
  const PEN = 9;  // radius in pixels
  const STEP = 8;  // pixels that an arrow key moves the pen

  // Adds a line from a to b to the ink, with soft edges: the same pixels in every browser.
  function ink(values, [ax, ay], [bx, by]) {
    const dx = bx - ax, dy = by - ay, length = dx * dx + dy * dy, reach = PEN + 1;
    const top = Math.max(0, Math.floor(Math.min(ay, by) - reach));
    const bottom = Math.min(SIDE - 1, Math.ceil(Math.max(ay, by) + reach));
    const left = Math.max(0, Math.floor(Math.min(ax, bx) - reach));
    const right = Math.min(SIDE - 1, Math.ceil(Math.max(ax, bx) + reach));
    for (let y = top; y <= bottom; y++) {
      for (let x = left; x <= right; x++) {
        const along = length ? ((x - ax) * dx + (y - ay) * dy) / length : 0;
        const t = Math.min(1, Math.max(0, along));
        const away = Math.hypot(x - ax - t * dx, y - ay - t * dy);
        const cover = Math.round(255 * Math.min(1, Math.max(0, PEN + 0.5 - away)));
        const at = y * SIDE + x;
        if (cover > values[at]) values[at] = cover;
      }
    }
  }

  // The drawing as a picture of half the size, dark ink on white paper, as RGBA.
  function paper(values) {
    const side = SIDE / 2, data = new Uint8ClampedArray(4 * side * side).fill(255);
    for (let i = 0; i < side * side; i++) {
      const at = 2 * Math.floor(i / side) * SIDE + 2 * (i % side);
      const sum = values[at] + values[at + 1] + values[at + SIDE] + values[at + SIDE + 1];
      data[4 * i] = data[4 * i + 1] = data[4 * i + 2] = 255 - Math.floor(sum / 4 + 0.5);
    }
    return { width: side, height: side, data };
  }

  // The pixels of a picture file as RGBA. A texture holds them as they are; a canvas, which serves
  // where there are no textures, rounds the colours of half-transparent pixels.
  async function decode(file) {
    const bitmap = await createImageBitmap(file, {
      premultiplyAlpha: "none", colorSpaceConversion: "none",
    });
    const { width, height } = bitmap, canvas = new OffscreenCanvas(1, 1);
    const gl = canvas.getContext("webgl2");
    if (gl && Math.max(width, height) <= gl.getParameter(gl.MAX_TEXTURE_SIZE)) {
      return { width, height, data: texture(gl, bitmap) };
    }
    const flat = new OffscreenCanvas(width, height);
    const context = flat.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, width, height);
  }

  function texture(gl, bitmap) {
    const data = new Uint8ClampedArray(4 * bitmap.width * bitmap.height);
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
    gl.framebufferTexture2D(
      gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, gl.getParameter(gl.TEXTURE_BINDING_2D), 0,
    );
    gl.readPixels(0, 0, bitmap.width, bitmap.height, gl.RGBA, gl.UNSIGNED_BYTE, data);
    gl.getExtension("WEBGL_lose_context")?.loseContext();  // a browser keeps few contexts
    return data;
  }

  // Answers whose probability is below `unsure` are marked.
  function start(root, models, unsure) {
    const find = (name) => root.querySelector(`[data-pad=${name}]`);
    const board = find("board"), drawn = board.getContext("2d");
    const seen = find("seen"), answer = find("answer");
    const rows = [...root.querySelectorAll("[data-class]")];
    const networks = models.map((model) => ({ ...model, run: network.load(model) }));
    let strokes = [], current = null, picture = null, pen = [SIDE / 2, SIDE / 2], down = false;
    let values = new Uint8Array(SIDE * SIDE), waiting = false;

    function redraw() {
      values = new Uint8Array(SIDE * SIDE);
      for (const stroke of strokes) {
        stroke.forEach((point, i) => ink(values, stroke[Math.max(0, i - 1)], point));
      }
      show();
    }

    function show() {
      find("save").disabled = picture !== null || !strokes.length;
      const style = getComputedStyle(board);
      const parse = (name) => style.getPropertyValue(name).trim().match(/\w\w/g)
        .map((part) => parseInt(part, 16));
      const colours = [parse("--paper"), parse("--ink")];
      if (picture) {
        const scale = Math.min(SIDE / picture.width, SIDE / picture.height);
        const canvas = new OffscreenCanvas(picture.width, picture.height);
        canvas.getContext("2d").putImageData(
          new ImageData(picture.data, picture.width, picture.height), 0, 0);
        drawn.clearRect(0, 0, SIDE, SIDE);
        drawn.drawImage(canvas, 0, 0, picture.width * scale, picture.height * scale);
      } else {
        const image = drawn.createImageData(SIDE, SIDE);
        for (let i = 0; i < values.length; i++) {
          const part = values[i] / 255;
          for (let c = 0; c < 3; c++) {
            image.data[4 * i + c] = colours[0][c] + part * (colours[1][c] - colours[0][c]);
          }
          image.data[4 * i + 3] = 255;
        }
        drawn.putImageData(image, 0, 0);
        if (document.activeElement === board && board.matches(":focus-visible")) mark();
      }
      if (!waiting) {
        waiting = true;
        requestAnimationFrame(() => { waiting = false; predict(); });
      }
    }

    function mark() {  // where the pen is that the arrow keys move
      drawn.strokeStyle = getComputedStyle(board).getPropertyValue("--accent");
      drawn.lineWidth = down ? 4 : 2;
      drawn.beginPath();
      drawn.arc(pen[0], pen[1], PEN + 3, 0, 2 * Math.PI);
      drawn.stroke();
    }

    function predict() {
      const given = picture || paper(values);
      const found = networks.map((model) => {
        const image = pictures.see(given, model);
        return image && {
          image, probabilities: model.run(Float64Array.from(image, (value) => value / 255)),
        };
      });
      display(found);
      root.dispatchEvent(new CustomEvent("predicted", { detail: found }));
    }

    function display(found) {
      const empty = found.every((its) => !its);
      const first = found.find((its) => its);
      const [, height, width, channels] = networks[0].input;
      seen.width = width;
      seen.height = height;
      const context = seen.getContext("2d"), image = context.createImageData(width, height);
      for (let i = 0; i < width * height; i++) {
        for (let c = 0; c < 3; c++) {
          image.data[4 * i + c] = first ? first.image[i * channels + Math.min(c, channels - 1)] : 0;
        }
        image.data[4 * i + 3] = 255;
      }
      context.putImageData(image, 0, 0);
      rows.forEach((row, label) => {
        row.querySelectorAll("[data-model]").forEach((cell, n) => {
          const p = found[n] ? found[n].probabilities[label] : 0;
          cell.style.setProperty("--p", `${100 * p}%`);
          cell.textContent = found[n] ? `${(100 * p).toFixed(1)} %` : "";
          const best = found[n] && label === top(found[n].probabilities);
          cell.classList.toggle("best", Boolean(best));
        });
      });
      answer.textContent = empty ? answer.dataset.empty : found.map(say).join("; ");
    }

    const top = (p) => p.indexOf(Math.max(...p));

    function say(its, n) {
      if (!its) return "";
      const label = top(its.probabilities), p = its.probabilities[label];
      const name = networks.length > 1 ? `${networks[n].name}: ` : "";
      const mark = p < unsure ? ", unsure" : "";
      return `${name}${networks[n].classes[label]} (${(100 * p).toFixed(1)} %${mark})`;
    }

    function place(event) {
      const box = board.getBoundingClientRect();
      const scale = SIDE / box.width;
      return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    }

    function begin(point) {
      picture = null;
      current = [point];
      strokes.push(current);
      ink(values, point, point);
    }

    function extend(point) {
      ink(values, current[current.length - 1], point);
      current.push(point);
    }

    function undo() {
      if (picture) picture = null;
      else strokes.pop();
      current = null;
      down = false;
      redraw();
    }

    function clear() {
      strokes = [];
      picture = current = null;
      down = false;
      redraw();
    }

    async function read(file) {
      try {
        picture = await decode(file);
        strokes = [];
        current = null;
        down = false;
        redraw();
      } catch {
        answer.textContent = `${file.name} is no picture that this browser can read.`;
      }
    }

    function save() {
      const link = document.createElement("a"), canvas = document.createElement("canvas");
      const { width, height, data } = paper(values);
      canvas.width = width;
      canvas.height = height;
      canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
      link.href = canvas.toDataURL("image/png");
      link.download = "drawing.png";
      link.click();
    }

    let pointer = null;  // the mouse, pen or finger that draws
    board.addEventListener("pointerdown", (event) => {
      if (event.button || pointer !== null) return;
      pointer = event.pointerId;
      down = false;
      board.setPointerCapture(pointer);
      begin(place(event));
      show();
    });
    board.addEventListener("pointermove", (event) => {
      if (!current || event.pointerId !== pointer) return;
      for (const each of event.getCoalescedEvents?.() ?? [event]) extend(place(each));
      show();
    });
    for (const name of ["pointerup", "pointercancel"]) {
      board.addEventListener(name, (event) => {
        if (event.pointerId === pointer) pointer = current = null;
      });
    }
    const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    board.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const way = ARROWS[event.key];
      if (way) {
        const step = event.shiftKey ? STEP / 4 : STEP;
        pen = pen.map((its, i) => Math.min(SIDE - 1, Math.max(0, its + step * way[i])));
        if (down) extend(pen);
      } else if (event.key === " ") {
        down = !down;
        if (down) begin(pen);
        else current = null;
      } else if (event.key === "Backspace") undo();
      else if (event.key === "Escape") clear();
      else return;
      event.preventDefault();
      show();
    });
    for (const name of ["focus", "blur"]) board.addEventListener(name, show);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
    find("undo").addEventListener("click", undo);
    find("clear").addEventListener("click", clear);
    find("save").addEventListener("click", save);
    find("file").addEventListener("change", (event) => {
      if (event.target.files.length) read(event.target.files[0]);
      event.target.value = "";
    });
    root.addEventListener("dragover", (event) => event.preventDefault());
    root.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files.length) read(event.dataTransfer.files[0]);
    });
    redraw();
    return { read, clear, predict, networks };
  }

  return { start };
})();
