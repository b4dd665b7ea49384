// The scalar residual block of harness/lab/scalar_block.py, forward and backward, and the sliders that set its weights.
"use strict";

function residualBlock(w, running, epsilon, x0, dy, training) {
  const sum = (a) => a.reduce((s, v) => s + v, 0);
  const dot = (a, b) => sum(a.map((v, i) => v * b[i]));
  const normalised = (x, mean, variance) => {
    if (training) {
      mean = sum(x) / x.length;
      variance = sum(x.map((v) => (v - mean) ** 2)) / x.length;
    }
    const sigma = Math.sqrt(variance + epsilon);
    return [x.map((v) => (v - mean) / sigma), sigma];
  };
  const back = (g, n, sigma, gamma) => {
    const mean = training ? sum(g) / g.length : 0;
    const along = training ? dot(g, n) / g.length : 0;
    return g.map((v, i) => (gamma / sigma) * (v - mean - n[i] * along));
  };
  const x1 = x0.map((x) => w.W1 * x + w.b1);
  const [n1, sigma1] = normalised(x1, running.mean1, running.variance1);
  const a1 = n1.map((n) => w.gamma1 * n + w.beta1);
  const x2 = a1.map((a) => Math.max(a, 0));
  const x3 = x2.map((x) => w.W2 * x + w.b2);
  const [n2, sigma2] = normalised(x3, running.mean2, running.variance2);
  const F = n2.map((n) => w.gamma2 * n + w.beta2);
  const s = F.map((f, i) => f + x0[i]);
  const y = s.map((v) => Math.max(v, 0));

  const ds = dy.map((g, i) => (s[i] > 0 ? g : 0));
  const dx3 = back(ds, n2, sigma2, w.gamma2);
  const dx2 = dx3.map((g) => g * w.W2);
  const da1 = dx2.map((g, i) => (a1[i] > 0 ? g : 0));
  const dx1 = back(da1, n1, sigma1, w.gamma1);
  const branch = dx1.map((g) => g * w.W1);
  return {
    x1, a1, x2, x3, F, s, y, dy, ds, dF: ds, dgamma2: [dot(ds, n2)], dbeta2: [sum(ds)], dx3, dW2: [dot(dx3, x2)], db2: [sum(dx3)],
    dx2, da1, dgamma1: [dot(da1, n1)], dbeta1: [sum(da1)], dx1, dW1: [dot(dx1, x0)], db1: [sum(dx1)],
    dx0_shortcut: ds, dx0_branch: branch, dx0: ds.map((g, i) => g + branch[i]),
  };
}

function startSliders(root) {
  const initial = JSON.parse(root.querySelector("script[type='application/json']").textContent);
  const find = (selector) => Array.from(root.querySelectorAll(selector));
  const format = (v) => (v === 0 ? "0" : Math.abs(v) < 1e-4 ? v.toExponential(2) : v.toFixed(4));
  const update = () => {
    const weights = {};
    for (const slider of find("input[type=range]")) {
      weights[slider.name] = Number(slider.value);
      root.querySelector(`output[for="${slider.id}"]`).textContent = Number(slider.value).toFixed(2);
    }
    const selected = initial.cases.find((entry) => entry.name === root.querySelector("select").value);
    const values = residualBlock(weights, initial.running, initial.epsilon, selected.x0, selected.dy, selected.training);
    for (const cell of find("td[data-value]")) cell.textContent = values[cell.dataset.value].map(format).join("  ");
  };
  root.addEventListener("input", update);
  root.querySelector("button").addEventListener("click", () => {
    for (const slider of find("input[type=range]")) slider.value = initial.weights[slider.name];
    update();
  });
  update();
}

if (typeof document === "undefined") module.exports = { residualBlock };
else for (const root of document.querySelectorAll(".sliders")) startSliders(root);
