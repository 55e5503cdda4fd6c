"use strict";
// Prepares pictures for a network, step by step as mnist_jax/pictures/ does, with the same whole
// numbers: the same picture becomes the same image.

const pictures = (() => {
  const UNIT = 16, FULL = 255 * UNIT, LONGEST = 384, DARK = 16;
  const NOISE = 2.5 * UNIT, LEFT = [1, 6 / 16, 70 / 256, 924 / 4096], SMALL = 64;
  const WIDE = 6, CLOSER = 12, OFF = 1, DOUBT = 0.25;
  const FAINTEST = 20 * UNIT, SHARP = [3, 1 / 50], EDGE = 0.05;
  const SMALLEST = [5, 1 / 40];
  const NEAR = 0.5, CLOSE = 0.1, LARGE = 0.08, LITTLE = 0.02, FINE = 4, STROKES = [0.08, 0.19];

  const rounded = (x) => Math.floor(x + 0.5);
  const grid = (height, width) => ({ height, width, values: new Float64Array(height * width) });
  const same = (x) => grid(x.height, x.width);
  const longest = (x) => Math.max(x.height, x.width);

  function mapped(x, compute) {
    const out = same(x);
    for (let i = 0; i < out.values.length; i++) out.values[i] = compute(x.values[i], i);
    return out;
  }

  function highest(values) {
    let most = -Infinity;
    for (const value of values) if (value > most) most = value;
    return most;
  }

  // The element number floor(share * (count - 1)) of the sorted values, whole numbers from 0 on.
  function quantile(values, share) {
    const counts = new Uint32Array(highest(values) + 1);
    for (const value of values) counts[value]++;
    let left = Math.floor(share * (values.length - 1)), value = 0;
    while (left >= counts[value]) left -= counts[value++];
    return value;
  }

  // The picture with its colours, averaged in blocks. `given` holds RGBA pixels of 8 bits.
  function reduced(given) {
    const { width, height, data } = given, side = Math.ceil(Math.max(width, height) / LONGEST);
    const across = Math.ceil(width / side), down = Math.ceil(height / side);
    const colours = [0, 1, 2].map(() => grid(down, across)), behind = background(data);
    for (let y = 0; y < height; y++) {
      const row = Math.floor(y / side) * across;
      for (let x = 0; x < width; x++) {
        const at = 4 * (y * width + x), opaque = data[at + 3], to = row + Math.floor(x / side);
        for (let c = 0; c < 3; c++) {
          colours[c].values[to] += data[at + c] * opaque + behind * (255 - opaque);
        }
      }
    }
    const count = (n, i) => Math.min(side, n - i * side);
    return colours.map((its) => mapped(its, (sum, i) => {
      const pixels = count(height, Math.floor(i / across)) * count(width, i % across);
      return rounded(sum * FULL / (pixels * 255 * 255));
    }));
  }

  // What lies behind a transparent picture, so that its ink stands out.
  function background(data) {
    const sums = [0, 0, 0];
    let total = 0;
    for (let at = 0; at < data.length; at += 4) {
      for (let c = 0; c < 3; c++) sums[c] += data[at + c] * data[at + 3];
      total += data[at + 3];
    }
    if (!total) return 255;
    const mean = Math.floor((299 * sums[0] + 587 * sums[1] + 114 * sums[2]) / (1000 * total));
    if (2 * total >= 255 * (data.length / 4)) return mean;
    return mean < 128 ? 255 : 0;
  }

  // The sums along the columns, each over x.height of new * x.height parts of pixels; transposed.
  function sums(x, length) {
    const out = grid(x.width, length);
    for (let column = 0; column < x.width; column++) {
      let row = 0, before = 0, last = 0;
      for (let i = 1; i <= length; i++) {
        const pixel = Math.floor(i * x.height / length), part = i * x.height - pixel * length;
        for (; row < pixel; row++) before += x.values[row * x.width + column];
        const within = part ? x.values[pixel * x.width + column] * part : 0;
        const now = before * length + within;
        out.values[column * length + i - 1] = now - last;
        last = now;
      }
    }
    return out;
  }

  function resize(x, height, width) {
    const area = x.height * x.width;
    return mapped(sums(sums(x, height), width), (sum) => rounded(sum / area));
  }

  function fit(x, length) {
    const most = longest(x);
    const size = (n) => Math.max(1, Math.floor((2 * n * length + most) / (2 * most)));
    return resize(x, size(x.height), size(x.width));
  }

  // Along one line, the best value at most `reach` away, by a queue of those that may still be it.
  function slide(values, out, start, step, count, reach, better) {
    const queue = new Int32Array(count);
    let head = 0, tail = 0, next = 0;
    for (let i = 0; i < count; i++) {
      for (; next < count && next <= i + reach; next++) {
        const value = values[start + next * step];
        while (tail > head && !better(values[start + queue[tail - 1] * step], value)) tail--;
        queue[tail++] = next;
      }
      while (queue[head] < i - reach) head++;
      out[start + i * step] = values[start + queue[head] * step];
    }
  }

  function best(x, reach, better) {
    const across = same(x), both = same(x);
    for (let y = 0; y < x.height; y++) {
      slide(x.values, across.values, y * x.width, 1, x.width, reach, better);
    }
    for (let c = 0; c < x.width; c++) {
      slide(across.values, both.values, c, x.width, x.height, reach, better);
    }
    return both;
  }

  const largest = (x, reach) => best(x, reach, (a, b) => a > b);
  const smallest = (x, reach) => best(x, reach, (a, b) => a < b);

  function noise(grey) {
    const { height, width, values } = grey;
    let most = 0;
    for (const [rows, columns, step] of [[height - 2, width, width], [height, width - 2, 1]]) {
      if (rows <= 0 || columns <= 0) continue;
      const found = new Float64Array(rows * columns);
      for (let y = 0, i = 0; y < rows; y++) {
        for (let x = 0; x < columns; x++, i++) {
          const at = y * width + x;
          found[i] = Math.abs(values[at] - 2 * values[at + step] + values[at + 2 * step]);
        }
      }
      most = Math.max(most, quantile(found, 0.25));
    }
    return most;
  }

  function blurred(x) {
    const { height, width, values } = x, rows = same(x), out = same(x);
    for (let y = 0; y < height; y++) {
      const up = Math.max(y - 1, 0) * width, down = Math.min(y + 1, height - 1) * width;
      for (let c = 0; c < width; c++) {
        rows.values[y * width + c] = values[up + c] + 2 * values[y * width + c] + values[down + c];
      }
    }
    for (let y = 0; y < height; y++) {
      for (let c = 0; c < width; c++) {
        const at = y * width, left = Math.max(c - 1, 0), right = Math.min(c + 1, width - 1);
        const sum = rows.values[at + left] + 2 * rows.values[at + c] + rows.values[at + right];
        out.values[at + c] = rounded(sum / 16);
      }
    }
    return out;
  }

  function quieted(grey) {
    const found = noise(grey), most = longest(grey) < SMALL ? 2 : LEFT.length;
    const left = LEFT.slice(0, most).map((share) => found * share);
    const blurs = left.slice(0, -1).filter((its) => its > NOISE).length;
    for (let i = 0; i < blurs; i++) grey = blurred(grey);
    return [grey, left[blurs]];
  }

  function roughness(paper) {
    const { height, width, values } = paper;
    let sum = 0;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const at = y * width + x;
        if (y) sum += Math.abs(values[at] - values[at - width]);
        if (x) sum += Math.abs(values[at] - values[at - 1]);
      }
    }
    return sum;
  }

  function raised(grey) {
    const [light, dark] = papers(grey, WIDE);
    if (!isLight(grey, light, dark, CLOSER)) {
      return mapped(grey, (value, i) => value - dark.values[i]);
    }
    const lightest = highest(light.values), least = Math.max(1, Math.floor(lightest / 3));
    return mapped(grey, (value, i) => {
      const lit = Math.max(light.values[i], least);
      return rounded((light.values[i] - value) * lightest / lit);
    });
  }

  // The paper if it is light, and if it is dark.
  function papers(grey, part) {
    const reach = Math.ceil(longest(grey) / part);
    return [
      smallest(largest(grey, reach), reach), largest(smallest(grey, reach), reach),
    ];
  }

  // The paper is the flatter of the two, or else what most of the border is like.
  function isLight(grey, light, dark, look) {
    const lightest = highest(light.values), darkest = -highest(dark.values.map((its) => -its));
    const flatter = roughness(dark) - roughness(light);
    if (Math.abs(flatter) >= DOUBT * (lightest - darkest) * longest(grey)) return flatter >= 0;
    const edge = border(grey);
    const bright = edge.filter((value) => 2 * value >= lightest + darkest).length;
    if (look && (bright === 0 || bright === edge.length)) {
      return isLight(grey, ...papers(grey, look), 0);
    }
    return 2 * bright >= edge.length;
  }

  function border(x) {
    return x.values.filter((_, i) => {
      const y = Math.floor(i / x.width), c = i % x.width;
      return y === 0 || c === 0 || y === x.height - 1 || c === x.width - 1;
    });
  }

  // Numbers the connected parts of what is at least `low`, from 1; returns numbers and boxes.
  function parts(ink, low) {
    const { height, width, values } = ink, labels = new Int32Array(values.length), boxes = [null];
    for (let first = 0; first < values.length; first++) {
      if (labels[first] || values[first] < low) continue;
      const label = boxes.length, stack = [first];
      const box = { top: height, left: width, bottom: 0, right: 0 };
      labels[first] = label;
      while (stack.length) {
        const at = stack.pop(), y = Math.floor(at / width), x = at % width;
        box.top = Math.min(box.top, y);
        box.left = Math.min(box.left, x);
        box.bottom = Math.max(box.bottom, y + 1);
        box.right = Math.max(box.right, x + 1);
        for (let dy = Math.max(y - 1, 0); dy <= Math.min(y + 1, height - 1); dy++) {
          for (let dx = Math.max(x - 1, 0); dx <= Math.min(x + 1, width - 1); dx++) {
            const next = dy * width + dx;
            if (!labels[next] && values[next] >= low) {
              labels[next] = label;
              stack.push(next);
            }
          }
        }
      }
      boxes.push(box);
    }
    return [labels, boxes];
  }

  // Where the character is: an array of 0 and 1, or null.
  function character(ink, low, high, step) {
    const { height, width, values } = ink, [labels, boxes] = parts(ink, low);
    const reach = Math.max(SHARP[0], Math.floor(SHARP[1] * Math.max(height, width)));
    const most = largest(ink, reach), least = smallest(ink, reach), count = boxes.length;
    const all = new Float64Array(count), steep = new Float64Array(count);
    const dark = new Float64Array(count);
    labels.forEach((label, i) => {
      all[label]++;
      if (most.values[i] - least.values[i] >= step) steep[label]++;
      if (values[i] >= high) dark[label]++;
    });
    let sizes = all.map((its, n) => (n && steep[n] >= EDGE * its && dark[n] ? its : 0));
    const lengths = boxes.map((b) => (b ? Math.max(b.bottom - b.top, b.right - b.left) : 0));
    const edges = boxes.map((b) => (b
      ? (b.top === 0) + (b.left === 0) + (b.bottom === height) + (b.right === width) : 0));
    const large = lengths.map((its) => (
      its >= Math.max(SMALLEST[0], SMALLEST[1] * Math.max(height, width))));
    if (sizes.some((its, n) => its && large[n] && edges[n] < 4)) {
      sizes = sizes.map((its, n) => (edges[n] === 4 ? 0 : its));
    }
    const inner = sizes.map((its, n) => (edges[n] === 0 ? its : 0));
    const widest = highest(sizes);
    const inside = Math.max(0, ...inner.filter((its, n) => large[n]));
    if (4 * inside >= widest && widest > 0) sizes = inner;
    let main = 0;
    sizes.forEach((its, n) => {
      if (large[n] && its > (large[main] ? sizes[main] : 0)) main = n;
    });
    if (!sizes[main] || !large[main]) return null;
    const its = boxes[main];
    const belongs = boxes.map((b, n) => {
      if (!b || !sizes[n]) return 0;
      const apart = Math.max(
        b.top - its.bottom, its.top - b.bottom, b.left - its.right, its.left - b.right);
      const near = sizes[n] >= LARGE * sizes[main] && apart <= NEAR * lengths[main];
      const close = sizes[n] >= LITTLE * sizes[main] && apart <= CLOSE * lengths[main];
      return near || close ? 1 : 0;
    });
    return { height, width, values: Float64Array.from(labels, (label) => belongs[label]) };
  }

  // The part of `x` within the smallest box around what `where` is at least.
  function cropped(x, where, low) {
    let top = where.height, left = where.width, bottom = 0, right = 0;
    where.values.forEach((value, i) => {
      if (value < low) return;
      const y = Math.floor(i / where.width), c = i % where.width;
      top = Math.min(top, y);
      bottom = Math.max(bottom, y + 1);
      left = Math.min(left, c);
      right = Math.max(right, c + 1);
    });
    const out = grid(bottom - top, right - left);
    return mapped(out, (_, i) => (
      x.values[(top + Math.floor(i / out.width)) * x.width + left + i % out.width]));
  }

  function stretched(level, share) {
    const low = share * highest(level.values);
    const core = quantile(level.values.filter((value) => value >= low), 0.75);
    return mapped(level, (value) => Math.min(rounded(value * FULL / core), FULL));
  }

  function padded(x, reach) {
    const out = grid(x.height + 2 * reach, x.width + 2 * reach);
    for (let y = 0; y < x.height; y++) {
      for (let c = 0; c < x.width; c++) {
        out.values[(y + reach) * out.width + c + reach] = x.values[y * x.width + c];
      }
    }
    return out;
  }

  function spread(x, reach) {
    if (!reach) return x;
    const { height, width, values } = x, out = mapped(x, (value) => value);
    for (let dy = -reach; dy <= reach; dy++) {
      for (let dx = -reach; dx <= reach; dx++) {
        if (dy * dy + dx * dx > reach * (reach + 1)) continue;
        for (let y = Math.max(0, -dy); y < Math.min(height, height - dy); y++) {
          for (let c = Math.max(0, -dx); c < Math.min(width, width - dx); c++) {
            const value = values[(y + dy) * width + c + dx], at = y * width + c;
            if (value > out.values[at]) out.values[at] = value;
          }
        }
      }
    }
    return out;
  }

  function strokeWidth(fine) {
    const inside = padded(mapped(fine, (value) => +(value >= FULL / 2)), 1);
    let area = 0;
    for (const value of inside.values) area += value;
    return 2000 * area / (785 * roughness(inside));
  }

  function stroked(fine, length) {
    const width = strokeWidth(fine), [thinnest, widest] = STROKES.map((share) => share * length);
    if (width < thinnest) {
      const reach = Math.floor((thinnest - width) / 2 + 0.5);
      return spread(padded(fine, reach), reach);
    }
    const reach = width > widest
      ? Math.floor(Math.min((width - widest) / 2, width / 4) + 0.5) : 0;
    const inverse = (x) => mapped(x, (value) => FULL - value);
    return inverse(spread(inverse(padded(fine, reach)), reach));
  }

  function placed(small, height, width, byMass) {
    const rows = new Float64Array(small.height), columns = new Float64Array(small.width);
    small.values.forEach((value, i) => {
      rows[Math.floor(i / small.width)] += value;
      columns[i % small.width] += value;
    });
    const total = rows.reduce((sum, value) => sum + value, 0);
    const [top, left] = [[rows, height], [columns, width]].map(([its, side]) => {
      const moment = its.reduce((sum, value, i) => sum + i * value, 0);
      const start = byMass ? side / 2 - moment / total : (side - its.length) / 2;
      return Math.min(Math.max(rounded(start), 0), side - its.length);
    });
    const image = new Uint8Array(height * width);
    small.values.forEach((value, i) => {
      const y = top + Math.floor(i / small.width), x = left + i % small.width;
      image[y * width + x] = value;
    });
    return image;
  }

  function toImage(given, height, width, ink) {
    const [grey, left] = quieted(given), map = raised(grey);
    const paper = quantile(map.values, 0.2), strongest = quantile(map.values, 0.9995);
    const contrast = strongest - paper, noisy = paper + 6 * left;
    if (contrast < FAINTEST || strongest < noisy) return null;
    const low = Math.max(paper + contrast / 4, noisy);
    const kept = character(map, low, paper + contrast / 2, contrast / 2 + 6 * left);
    if (!kept) return null;
    const around = largest(kept, 1);
    const level = mapped(map, (value, i) => (around.values[i] ? Math.max(value - paper, 0) : 0));
    let fine = stretched(fit(cropped(level, kept, 1), FINE * ink.longest), 0.3);
    fine = stroked(fine, FINE * ink.longest);
    const small = fit(cropped(fine, fine, FULL / 4), ink.longest), most = highest(small.values);
    const stretchedInk = mapped(small, (value) => rounded(value * 255 / most));
    return placed(stretchedInk, height, width, ink.by_mass);
  }

  // Whether a picture of the right size is light on dark, and its ink is where it belongs.
  function isPrepared(grey, ink) {
    const edge = border(grey), sum = edge.reduce((total, value) => total + value, 0);
    if (sum > DARK * UNIT * edge.length || highest(grey.values) < FAINTEST) return false;
    let mass = 0, down = 0, across = 0;
    grey.values.forEach((value, i) => {
      mass += value;
      down += value * Math.floor(i / grey.width);
      across += value * (i % grey.width);
    });
    const off = [down / mass - grey.height / 2, across / mass - grey.width / 2];
    return !ink.by_mass || Math.max(...off.map(Math.abs)) <= OFF;
  }

  const bytes = (x) => Uint8Array.from(x.values, (value) => rounded(value / UNIT));

  // The image that a network sees of a picture, [height * width * channels] from 0 to 255; null if
  // there is no ink.
  function see(given, model) {
    const [, height, width, channels] = model.input, colours = reduced(given);
    const [red, green, blue] = colours.map((its) => its.values);
    const grey = mapped(colours[0], (_, i) => (
      rounded((299 * red[i] + 587 * green[i] + 114 * blue[i]) / 1000)));
    if (!model.ink) {
      const planes = (channels === 1 ? [grey] : colours)
        .map((its) => bytes(resize(its, height, width)));
      return Uint8Array.from({ length: height * width * channels },
        (_, i) => planes[i % channels][Math.floor(i / channels)]);
    }
    const plain = red.every((value, i) => value === green[i] && value === blue[i]);
    if (plain && grey.height === height && grey.width === width && isPrepared(grey, model.ink)) {
      return bytes(grey);
    }
    return toImage(grey, height, width, model.ink);
  }

  return { see };
})();
