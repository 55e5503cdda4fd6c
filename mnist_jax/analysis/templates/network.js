"use strict";
// Runs a trained network: the operations that mnist_jax/exporting/operations.py has written.

const network = (() => {
  const size = (shape) => shape.reduce((product, length) => product * length, 1);

  function strides(shape) {
    const found = new Array(shape.length).fill(1);
    for (let i = shape.length - 2; i >= 0; i--) found[i] = found[i + 1] * shape[i + 1];
    return found;
  }

  // Calls visit(offset) for each index of an array of this shape, in order, where an offset is the
  // start and the index times the steps.
  function walk(shape, start, steps, visit) {
    const index = new Array(shape.length).fill(0);
    let offset = start;
    for (let left = size(shape); left > 0; left--) {
      visit(offset);
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        offset += steps[axis];
        if (++index[axis] < shape[axis]) break;
        offset -= steps[axis] * shape[axis];
        index[axis] = 0;
      }
    }
  }

  // Copies the elements that a walk over `source` meets.
  function gathered(source, shape, start, steps) {
    const out = new Float32Array(size(shape));
    let at = 0;
    walk(shape, start, steps, (offset) => { out[at++] = source.values[offset]; });
    return out;
  }

  // Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.5 and 7.1.14.
  function erf(x) {
    const a = Math.abs(x);
    if (a > 6) return Math.sign(x);
    if (a < 2.5) {
      let term = a, sum = a;
      for (let n = 1; n < 80; n++) {
        term *= -a * a / n;
        sum += term / (2 * n + 1);
      }
      return Math.sign(x) * 2 / Math.sqrt(Math.PI) * sum;
    }
    let fraction = 0;
    for (let n = 60; n > 0; n--) fraction = n / 2 / (a + fraction);
    return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
  }

  const awayFromZero = (x) => Math.sign(x) * Math.floor(Math.abs(x) + 0.5);
  const toEven = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
  const ROUNDINGS = [awayFromZero, toEven];  // by their numbers in jax.lax.RoundingMethod

  const UNARY = {
    abs: Math.abs, ceil: Math.ceil, cos: Math.cos, erf, erfc: (x) => 1 - erf(x), exp: Math.exp, expm1: Math.expm1,
    exp2: (x) => 2 ** x, floor: Math.floor, is_finite: (x) => +Number.isFinite(x), log: Math.log,
    log1p: Math.log1p, logistic: (x) => 1 / (1 + Math.exp(-x)), neg: (x) => -x, not: (x) => +!x,
    rsqrt: (x) => 1 / Math.sqrt(x), sign: Math.sign, sin: Math.sin, sqrt: Math.sqrt,
    square: (x) => x * x, tanh: Math.tanh,
  };
  const BINARY = {
    add: (a, b) => a + b, and: (a, b) => +(a && b), div: (a, b) => a / b, eq: (a, b) => +(a === b),
    ge: (a, b) => +(a >= b), gt: (a, b) => +(a > b), le: (a, b) => +(a <= b),
    lt: (a, b) => +(a < b), max: Math.max, min: Math.min, mul: (a, b) => a * b,
    ne: (a, b) => +(a !== b), or: (a, b) => +(a || b), pow: Math.pow, rem: (a, b) => a % b,
    sub: (a, b) => a - b, xor: (a, b) => +(!a !== !b),
  };

  const KINDS = { i: Math.trunc, u: Math.trunc, b: (x) => +(x !== 0) };

  // Returns the values of an array of another shape with axes of length 1 repeated.
  function repeated(input, shape) {
    const from = strides(input.shape);
    const steps = from.map((its, axis) => (input.shape[axis] === 1 ? 0 : its));
    return gathered(input, shape, 0, steps);
  }

  function each(step, inputs, compute) {
    const out = new Float32Array(size(step.shape));
    // A single number goes with an array of any size.
    const fits = (its) => its.values.length === 1 || its.values.length === out.length;
    const [a, b, c] = inputs.map((its) => (fits(its) ? its.values : repeated(its, step.shape)));
    const [da, db, dc] = [a, b, c].map((its) => (its && its.length > 1 ? 1 : 0));
    if (c) for (let i = 0; i < out.length; i++) out[i] = compute(a[i * da], b[i * db], c[i * dc]);
    else if (b) for (let i = 0; i < out.length; i++) out[i] = compute(a[i * da], b[i * db]);
    else for (let i = 0; i < out.length; i++) out[i] = compute(a[i * da]);
    return out;
  }

  function broadcast(step, [input]) {
    const from = strides(input.shape), steps = new Array(step.shape.length).fill(0);
    step.broadcast_dimensions.forEach((axis, i) => {
      steps[axis] = input.shape[i] === 1 ? 0 : from[i];
    });
    return gathered(input, step.shape, 0, steps);
  }

  function transpose(step, [input]) {
    const from = strides(input.shape);
    return gathered(input, step.shape, 0, step.permutation.map((axis) => from[axis]));
  }

  function rev(step, [input]) {
    const steps = strides(input.shape);
    let start = 0;
    for (const axis of step.dimensions) {
      start += steps[axis] * (input.shape[axis] - 1);
      steps[axis] = -steps[axis];
    }
    return gathered(input, step.shape, start, steps);
  }

  function slice(step, [input]) {
    const from = strides(input.shape);
    const start = step.start.reduce((sum, begin, axis) => sum + begin * from[axis], 0);
    return gathered(input, step.shape, start, from.map((its, axis) => its * step.strides[axis]));
  }

  function concatenate(step, inputs) {
    const out = new Float32Array(size(step.shape)), to = strides(step.shape);
    let start = 0;
    for (const input of inputs) {
      let at = 0;
      walk(input.shape, start, to, (offset) => { out[offset] = input.values[at++]; });
      start += input.shape[step.dimension] * to[step.dimension];
    }
    return out;
  }

  function pad(step, [input, filler]) {
    const out = new Float32Array(size(step.shape)).fill(filler.values[0]);
    const to = strides(step.shape), index = new Array(input.shape.length).fill(0);
    for (let i = 0; i < input.values.length; i++) {
      let offset = 0, inside = true;
      step.padding_config.forEach(([low, , between], axis) => {
        const place = low + index[axis] * (between + 1);
        inside = inside && place >= 0 && place < step.shape[axis];
        offset += place * to[axis];
      });
      if (inside) out[offset] = input.values[i];
      for (let axis = index.length - 1; axis >= 0 && ++index[axis] === input.shape[axis]; axis--) {
        index[axis] = 0;
      }
    }
    return out;
  }

  // The axes that stay, and those that are reduced, as [lengths, steps] each.
  function separated(input, axes) {
    const from = strides(input.shape), kept = [[], []], gone = [[], []];
    input.shape.forEach((length, axis) => {
      const side = axes.includes(axis) ? gone : kept;
      side[0].push(length);
      side[1].push(from[axis]);
    });
    return [kept, gone];
  }

  function reduce(step, [input], initial, combine) {
    const [kept, gone] = separated(input, step.axes);
    const out = new Float32Array(size(step.shape));
    let at = 0;
    walk(kept[0], 0, kept[1], (start) => {
      let value = initial;
      walk(gone[0], start, gone[1], (offset) => { value = combine(value, input.values[offset]); });
      out[at++] = value;
    });
    return out;
  }

  function cumsum(step, [input]) {
    const [kept, [[length], [by]]] = separated(input, [step.axis]);
    const out = new Float32Array(size(step.shape));
    walk(kept[0], 0, kept[1], (start) => {
      let sum = 0;
      for (let i = 0; i < length; i++) {
        const at = start + by * (step.reverse ? length - 1 - i : i);
        sum += input.values[at];
        out[at] = sum;
      }
    });
    return out;
  }

  function first(step, [input], better) {
    const [kept, gone] = separated(input, step.axes);
    const out = new Float32Array(size(step.shape));
    let at = 0;
    walk(kept[0], 0, kept[1], (start) => {
      let best = 0, place = 0;
      walk(gone[0], start, gone[1], (offset) => {
        const here = start + best * gone[1][0];
        if (place && better(input.values[offset], input.values[here])) best = place;
        place++;
      });
      out[at++] = best;
    });
    return out;
  }

  function pool(step, [input], initial, combine) {
    const from = strides(input.shape), rank = input.shape.length;
    const out = new Float32Array(size(step.shape)), index = new Array(rank).fill(0);
    for (let at = 0; at < out.length; at++) {
      const begin = [], lengths = [];
      let start = 0;
      for (let axis = 0; axis < rank; axis++) {
        const low = index[axis] * step.window_strides[axis] - step.padding[axis][0];
        const stop = Math.min(low + step.window_dimensions[axis], input.shape[axis]);
        begin.push(Math.max(low, 0));
        lengths.push(Math.max(stop - begin[axis], 0));
        start += begin[axis] * from[axis];
      }
      let value = initial;
      walk(lengths, start, from, (offset) => { value = combine(value, input.values[offset]); });
      out[at] = value;
      for (let axis = rank - 1; axis >= 0 && ++index[axis] === step.shape[axis]; axis--) {
        index[axis] = 0;
      }
    }
    return out;
  }

  function dot(step, [a, b]) {
    const sides = [a, b].map((input, side) => {
      const from = strides(input.shape), its = { batch: [], contract: [], free: [] };
      for (const axis of step.batch[side]) its.batch.push([input.shape[axis], from[axis]]);
      for (const axis of step.contract[side]) its.contract.push([input.shape[axis], from[axis]]);
      input.shape.forEach((length, axis) => {
        if (!step.batch[side].includes(axis) && !step.contract[side].includes(axis)) {
          its.free.push([length, from[axis]]);
        }
      });
      return its;
    });
    const offsets = (pairs) => {
      const found = [];
      walk(pairs.map((pair) => pair[0]), 0, pairs.map((pair) => pair[1]), (at) => found.push(at));
      return found;
    };
    const [left, right] = sides.map((its) => ({
      batch: offsets(its.batch), contract: offsets(its.contract), free: offsets(its.free),
    }));
    const out = new Float32Array(size(step.shape)), sums = new Float64Array(right.free.length);
    let at = 0;
    left.batch.forEach((base, n) => {
      for (const row of left.free) {
        sums.fill(0);
        left.contract.forEach((place, k) => {
          const factor = a.values[base + row + place];
          if (factor === 0) return;
          const start = right.batch[n] + right.contract[k];
          for (let j = 0; j < sums.length; j++) sums[j] += factor * b.values[start + right.free[j]];
        });
        for (let j = 0; j < sums.length; j++) out[at++] = sums[j];
      }
    });
    return out;
  }

  function convolve(step, [image, kernel]) {
    const [n, c, ...places] = step.image, [o, i, ...window] = step.kernel;
    const [rn, rc, ...results] = step.result;
    const si = strides(image.shape), sk = strides(kernel.shape), so = strides(step.shape);
    const out = new Float32Array(size(step.shape));
    const features = kernel.shape[o], inputs = kernel.shape[i], share = features / step.groups;
    const lengths = window.map((axis) => kernel.shape[axis]);
    const lattice = [];  // the kernel's places
    walk(lengths, 0, strides(lengths), (at) => {
      const steps = strides(lengths);
      lattice.push(lengths.map((length, d) => Math.floor(at / steps[d]) % length));
    });
    const spans = results.map((axis) => step.shape[axis]);
    const spanSteps = strides(spans), sums = new Float64Array(features);
    for (let example = 0; example < image.shape[n]; example++) {
      for (let at = 0; at < size(spans); at++) {
        sums.fill(0);
        let to = example * so[rn];
        const place = spans.map((length, d) => Math.floor(at / spanSteps[d]) % length);
        place.forEach((its, d) => { to += its * so[results[d]]; });
        for (const tap of lattice) {
          let from = example * si[n], weight = 0, inside = true;
          for (let d = 0; d < tap.length; d++) {
            const dilated = place[d] * step.window_strides[d] - step.padding[d][0]
              + tap[d] * step.rhs_dilation[d];
            const pixel = dilated / step.lhs_dilation[d];
            inside = inside && Number.isInteger(pixel) && pixel >= 0
              && pixel < image.shape[places[d]];
            from += pixel * si[places[d]];
            weight += tap[d] * sk[window[d]];
          }
          if (!inside) continue;
          for (let group = 0; group < step.groups; group++) {
            for (let k = 0; k < inputs; k++) {
              const value = image.values[from + (group * inputs + k) * si[c]];
              if (value === 0) continue;
              let w = weight + k * sk[i] + group * share * sk[o];
              for (let f = group * share; f < (group + 1) * share; f++, w += sk[o]) {
                sums[f] += value * kernel.values[w];
              }
            }
          }
        }
        for (let f = 0; f < features; f++) out[to + f * so[rc]] = sums[f];
      }
    }
    return out;
  }

  const same = (step, [input]) => input.values;
  const OTHERS = {
    argmax: (step, inputs) => first(step, inputs, (a, b) => a > b),
    argmin: (step, inputs) => first(step, inputs, (a, b) => a < b),
    broadcast_in_dim: broadcast,
    clamp: (step, inputs) => each(step, inputs, (low, x, high) => Math.min(Math.max(x, low), high)),
    concatenate,
    conv_general_dilated: convolve,
    convert_element_type: (step, inputs) =>
      KINDS[step.kind] ? each(step, inputs, KINDS[step.kind]) : inputs[0].values,
    cumsum,
    div: (step, inputs) => {
      const whole = KINDS[step.kind] || ((x) => x);
      return each(step, inputs, (a, b) => whole(a / b));
    },
    dot_general: dot,
    expand_dims: same,
    integer_pow: (step, inputs) => each(step, inputs, (x) => x ** step.y),
    pad,
    reduce_and: (step, inputs) => reduce(step, inputs, 1, BINARY.and),
    reduce_max: (step, inputs) => reduce(step, inputs, -Infinity, Math.max),
    reduce_min: (step, inputs) => reduce(step, inputs, Infinity, Math.min),
    reduce_or: (step, inputs) => reduce(step, inputs, 0, BINARY.or),
    reduce_prod: (step, inputs) => reduce(step, inputs, 1, BINARY.mul),
    reduce_sum: (step, inputs) => reduce(step, inputs, 0, BINARY.add),
    reduce_window_max: (step, inputs) => pool(step, inputs, -Infinity, Math.max),
    reduce_window_min: (step, inputs) => pool(step, inputs, Infinity, Math.min),
    reduce_window_sum: (step, inputs) => pool(step, inputs, 0, BINARY.add),
    reshape: same,
    rev,
    round: (step, inputs) => each(step, inputs, ROUNDINGS[step.rounding_method]),
    select_n: (step, inputs) => each(step, inputs, (which, a, b) => (which ? b : a)),
    slice,
    squeeze: same,
    transpose,
  };

  function compute(step, inputs) {
    const other = OTHERS[step.op];
    if (other) return other(step, inputs);
    return each(step, inputs, UNARY[step.op] || BINARY[step.op]);
  }

  // Returns a function from the input, an array of numbers, to the output, an array of numbers.
  function load(model) {
    const text = atob(model.values), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const all = new DataView(bytes.buffer);
    let at = 0;
    const constants = model.constants.map((shape) => {
      const values = new Float32Array(size(shape));
      for (let i = 0; i < values.length; i++, at += 4) values[i] = all.getFloat32(at, true);
      return { shape, values };
    });
    return (image) => {
      const values = [{ shape: model.input, values: Float32Array.from(image) }, ...constants];
      for (const step of model.steps) {
        const inputs = step.inputs.map((number) => values[number]);
        values.push({ shape: step.shape, values: compute(step, inputs) });
      }
      return Array.from(values[model.output].values);
    };
  }

  return { load };
})();
