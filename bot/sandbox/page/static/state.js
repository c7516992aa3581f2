// What the page knows, and questions to it. Knows nothing of elements.

export const state = {
  me: 0,
  room: null,
  topic: null,
  about: { model: "script", admins: [], switches: [] },
  world: { bots: [], persons: [], rooms: [] },
  messages: new Map(), // room key -> Map of message id -> { message, screen, reactions }
  drafts: new Map(), // room key -> Map of "<bot>:<draft>" -> draft
  typing: new Map(), // room key -> Map of bot id -> time when it ends, in ms
  fresh: new Set(), // keys of lines with something unread
  host: null,
  trouble: { armed: {}, slow: false },
};

export const room = (key = state.room) => state.world.rooms.find((one) => one.key === key);
export const bot = (id) => state.world.bots.find((one) => one.id === id);
export const party = (id) => bot(id) || state.world.persons.find((one) => one.id === id);
export const lineOf = (key, topic) => (topic ? `${key}#${topic}` : key);
export const cordOf = (id) => {
  const at = state.world.bots.findIndex((one) => one.id === id);
  return String(at < 0 ? 3 : at % 3);
};

export const rooms = () => state.world.rooms.filter((one) => one.members.some((m) => m.id === state.me && m.status !== "left" && m.status !== "kicked"));

export function nameOf(one) {
  if (one.bot) return bot(one.bot)?.first_name ?? "Bot";
  return one.chat.title ?? "Group";
}

export function topicOf(message) {
  return message.is_topic_message ? message.message_thread_id : null;
}

export function lastOf(one, topic) {
  const known = [...(state.messages.get(one.key)?.values() ?? [])].map((item) => item.message).filter((m) => !serviceWords(m));
  const fitting = one.chat.is_forum ? known.filter((m) => topicOf(m) === topic) : known;
  return fitting.at(-1);
}

export function keep(key, item) {
  if (!state.messages.has(key)) state.messages.set(key, new Map());
  const known = state.messages.get(key);
  const id = item.message.message_id;
  const whole = { reactions: known.get(id)?.reactions ?? [], ...item };
  known.set(id, whole);
  return whole;
}

export const textOf = (message) => message.text ?? message.caption ?? kindOf(message);

const KINDS = ["photo", "document", "voice", "audio", "video", "video_note", "animation", "sticker"];
export const fileOf = (message) => {
  const kind = KINDS.find((name) => message[name]);
  if (!kind) return null;
  const file = kind === "photo" ? message.photo.at(-1) : message[kind];
  return { kind, id: file.file_id, name: file.file_name ?? kind, size: file.file_size };
};
const kindOf = (message) => {
  const file = fileOf(message);
  return file ? `[${file.kind}]` : serviceWords(message) || "";
};

export function serviceWords(message) {
  const who = message.from?.first_name ?? "Somebody";
  if (message.new_chat_members) return `${message.new_chat_members.map((m) => m.first_name).join(", ")} joined`;
  if (message.left_chat_member) return `${message.left_chat_member.first_name} left`;
  if (message.forum_topic_created) return `${who} opened the topic “${message.forum_topic_created.name}”`;
  if (message.migrate_to_chat_id) return "This group became a supergroup";
  if (message.migrate_from_chat_id) return "This supergroup was a group before";
  if (message.pinned_message) return `${who} pinned a message`;
  return "";
}
