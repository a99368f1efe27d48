/** What is said of a tracker: one decision for the list, the card and the map, so that they never contradict each other. */

/** How it is drawn and filtered. */
export type Motion = "moving" | "idle" | "offline" | "unknown";

/** The word for it: on its way it goes on a trip, but tells no speed now; connected it has no position yet. */
export type Word = "moving" | "onTheWay" | "idle" | "connected" | "offline" | "unknown";

export interface Status {
  motion: Motion;
  word: Word;
  /** What it does now; null: nothing is known of now. */
  knots: number | null;
}

type Contact = "online" | "offline" | "unknown";
interface Told {
  speed: number;
  attributes?: { motion?: unknown };
}

const MOVING_KNOTS = 4.86; // 2.5 m/s, by which the server calls one fix a move: receivers at rest tell up to 2 m/s
const KNOTS_MIN = 0.27; // less than this is shown as 0 km/h

export function motionFrom(contact: Contact, at: Told | undefined): Motion {
  if (contact === "unknown") return "unknown";
  if (!at) return contact === "online" ? "idle" : "unknown";
  if (contact === "offline") return "offline";
  return at.attributes?.motion === true || at.speed > MOVING_KNOTS ? "moving" : "idle";
}

export function statusFrom(contact: Contact, at: Told | undefined): Status {
  const motion = motionFrom(contact, at);
  if (motion === "offline" || motion === "unknown") return { motion, word: motion, knots: null };
  if (!at) return { motion, word: "connected", knots: null };
  if (motion === "idle") return { motion, word: "idle", knots: 0 }; // what it tells there is its receiver's noise
  return { motion, word: at.speed < KNOTS_MIN ? "onTheWay" : "moving", knots: at.speed };
}
