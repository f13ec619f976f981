// The two calls to the server. A vote may be sent any number of times: it counts once.

const csrf = document.querySelector("meta[name=csrf]").content;
const PATIENCE = 15000; // milliseconds for one answer
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export const nextTrials = (report) => request("/state", {}, report);

export const sendVote = (vote, report) =>
  request("/votes", { method: "POST", headers: { "content-type": "application/json", "x-csrf-token": csrf }, body: JSON.stringify(vote) }, report);

// Fetches and decodes the pictures of a trial.
export async function loadPictures(trial, report) {
  const load = async (address) => {
    for (let attempt = 0; ; attempt += 1) {
      const image = new Image();
      image.src = attempt ? `${address}?${attempt}` : address;
      try {
        await image.decode();
        return image;
      } catch {
        report("Pictures do not load; trying again");
        await sleep(delay(attempt));
      }
    }
  };
  const [left, reference, right] = await Promise.all([load(trial.left), load(trial.reference), load(trial.right)]);
  return { left, reference, right };
}

// Tries until there is an answer: again without network, and when the server is restarting or busy.
async function request(address, options, report) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const response = await fetch(address, { ...options, signal: AbortSignal.timeout(PATIENCE) });
      if (response.ok) {
        report("");
        return await response.json();
      }
      if (response.status < 500 && response.status !== 429) {
        const { error } = await response.json().catch(() => ({}));
        throw new Refused(error ?? `status ${response.status}`, response.status);
      }
    } catch (error) {
      if (error instanceof Refused) throw error;
    }
    report("No connection; your answer is kept and sent again");
    await sleep(delay(attempt));
  }
}

const delay = (attempt) => Math.min(8000, 500 * 2 ** attempt) * (0.75 + 0.5 * Math.random());

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}
