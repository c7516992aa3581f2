// What one may try in a chat.

import { bot, state } from "./state.js";

const BY_BOT = {
  meridian_demo_bot: ["what time is it in Tokyo?", "convert 14:00 from Berlin to Tokyo", "tell me a long story", "/help"],
  quill_demo_bot: ["write buy oranges to shopping.md", "list my files", "read shopping.md", "delete shopping.md", "/approvals"],
  operator_demo_bot: ["hello", "12 * (3 + 4)", "write call the plumber to today.md", "think about rivers", "tell me a long story", "/new"],
  concierge_demo_bot: ["book a table for two", "12 March", "book a table for two on 12 March", "/profiles Partner"],
  almanac_demo_bot: ["tell me about oranges", "search my notes for oranges", "hello", "/profiles Researcher"],
};

const FOR_ADMINS = [
  "/status",
  "/agents",
  '/addagent {"id": "pirate", "name": "Pirate", "customInstructions": "You are a pirate."}',
  "/bind pirate",
  "/unbind",
  "/usage",
];

export function chipsFor(room) {
  if (room.bot) {
    const chips = BY_BOT[bot(room.bot)?.username] ?? ["hello", "tell me a long story", "/help"];
    return state.about.admins.includes(state.me) ? [...chips, ...FOR_ADMINS] : chips;
  }
  const bots = room.members.filter((member) => member.is_bot).map((member) => `@${member.username}`);
  const first = bots.at(0);
  if (!first) return [];
  return [`${first} what time is it in Rome?`, "nobody is asked here", `${bots.at(2) ?? first} tell me a long story`, `/help${first}`];
}
