// A rater's way through the trials: load, look, answer, and the next.

import { Refused, loadPictures, nextTrials, sendVote } from "./server.js";
import { Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);
const BLANK = 250; // milliseconds of grey between trials, so that nobody compares one with the next
const TOUCH = matchMedia("(pointer: coarse)").matches;
const STEP = 48; // pixels that a key moves pictures

const stage = new Stage($("stage"), $("stage").dataset.layout);
const minimum = 1000 * Number($("stage").dataset.minimum);
const choices = [...document.querySelectorAll("[data-choice]")];
const views = [...document.querySelectorAll("[data-view]")];
const dialogs = [$("pause-dialog"), $("help-dialog")];
const loaded = new Map(); // pictures by trial, promised
let trial = null; // on the screen
let looked = 0; // milliseconds, not counting pauses
let since = null; // when looking began, null in a pause
let timer = 0;

const looking = () => looked + (since === null ? 0 : performance.now() - since);
const say = (text) => { $("status").textContent = text; };
const hint = (text) => { $("hint").textContent = text; }; // its line stays, so that pictures stay in place

function pictures(of) {
  if (!loaded.has(of.id)) loaded.set(of.id, loadPictures(of, hint));
  return loaded.get(of.id);
}

async function present(state) {
  $("count").textContent = `${Math.min(state.done + 1, state.total)} / ${state.total}`;
  $("progress").setAttribute("aria-valuemax", state.total);
  $("progress").setAttribute("aria-valuenow", state.done);
  $("progress").firstElementChild.style.transform = `scaleX(${state.done / state.total})`;
  if (!state.trials.length) {
    location.assign("/done");
    return;
  }
  const [next, ...later] = state.trials;
  for (const id of [...loaded.keys()]) if (!state.trials.some((one) => one.id === id)) loaded.delete(id);
  const waiting = setTimeout(() => { $("loading").hidden = false; }, 400);
  const [images] = await Promise.all([pictures(next), new Promise((resolve) => setTimeout(resolve, BLANK))]);
  clearTimeout(waiting);
  $("loading").hidden = true;
  hint("");
  looked = 0;
  since = resting() ? null : performance.now();
  trial = next;
  stage.show(images);
  say(`Pair ${state.done + 1} of ${state.total}.`);
  for (const one of later) pictures(one); // while this one is looked at
}

// Answers are open after the least time of looking, and when both copies have been seen.
function update() {
  const both = stage.seen.has("left") && stage.seen.has("right");
  const wait = minimum - looking();
  const open = trial !== null && both && wait <= 0 && !resting();
  for (const button of choices) button.disabled = !open;
  clearTimeout(timer);
  if (trial && wait > 0) timer = setTimeout(update, wait + 1);
  $("views").hidden = !stage.stacked;
  for (const button of views) {
    button.hidden = stage.layout === "flip" && button.dataset.view === "reference";
    button.setAttribute("aria-pressed", String(stage.view === button.dataset.view));
  }
  const zoomed = (window.visualViewport?.scale ?? 1) > 1.01;
  if (zoomed) hint("Please zoom out: pictures are exact only at 100 %");
  else if (trial && !both && wait <= 0) hint(TOUCH ? "Look at both first: tap the picture" : "Look at both first: press Space");
  else hint("");
}

async function choose(choice, input) {
  const button = choices.find((one) => one.dataset.choice === choice);
  if (!trial || !button || button.disabled) return;
  const vote = {
    trial: trial.id,
    choice,
    seconds: looking() / 1000,
    flips: stage.flips,
    layout: stage.layout,
    viewport_width: window.innerWidth,
    viewport_height: window.innerHeight,
    pixel_ratio: window.devicePixelRatio,
    zoom: window.visualViewport?.scale ?? 1,
    input,
  };
  trial = null;
  update();
  button.classList.add("chosen");
  stage.clear();
  $("stage").focus();
  try {
    const state = await sendVote(vote, hint);
    await present(state);
  } catch (error) {
    stop(error);
  } finally {
    button.classList.remove("chosen");
    update();
  }
}

function stop(error) {
  if (!(error instanceof Refused)) throw error;
  if (error.status === 401) location.assign("/");
  else if (error.status === 409) location.reload(); // answered on another device
  else hint(`The server refused: ${error.message}`);
}

const resting = () => document.hidden || dialogs.some((dialog) => dialog.open);

function restOrLook() {
  if (!trial) return;
  if (resting()) {
    looked = looking();
    since = null;
  } else {
    since ??= performance.now();
  }
  update();
}

function open(dialog) {
  dialog.showModal();
  restOrLook();
}

const ANSWERS = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "neither" };
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || dialogs.some((dialog) => dialog.open)) return;
  const onButton = event.target.closest?.("button:focus-visible");
  if (event.key === " " || event.key === "Enter") {
    if (onButton) return;
    if (event.key === " " && !event.repeat) stage.flip();
  } else if (event.shiftKey && MOVES[event.key]) {
    stage.pan(...MOVES[event.key].map((direction) => direction * STEP));
  } else if (event.key === "ArrowUp") {
    if (!event.repeat) stage.turnTo("reference");
  } else if (ANSWERS[event.key]) {
    if (!event.repeat) choose(ANSWERS[event.key], "keyboard");
  } else if (event.key === "?") {
    open($("help-dialog"));
  } else {
    return;
  }
  event.preventDefault();
});
document.addEventListener("keyup", (event) => {
  if (event.key === "ArrowUp" && stage.view === "reference") stage.flip();
});

for (const button of choices) {
  button.addEventListener("click", (event) => choose(button.dataset.choice, event.pointerType || "keyboard"));
}
for (const button of views) button.addEventListener("click", () => stage.turnTo(button.dataset.view));
for (const dialog of dialogs) dialog.addEventListener("close", () => { $("stage").focus(); restOrLook(); });
$("pause").addEventListener("click", () => open($("pause-dialog")));
$("help").addEventListener("click", () => open($("help-dialog")));
$("link").value = new URL($("link").getAttribute("value"), location.href).href;
$("copy").addEventListener("click", async () => {
  $("link").select();
  await navigator.clipboard.writeText($("link").value).then(() => { $("copy").textContent = "Copied"; }, () => {});
});
document.addEventListener("visibilitychange", restOrLook);
window.visualViewport?.addEventListener("resize", update);
stage.onchange = () => {
  update();
  if (trial && stage.stacked) say({ left: "A is shown", right: "B is shown", reference: "The original is shown" }[stage.view]);
};

nextTrials(hint).then(present).catch(stop).finally(update);
