-- One change of the registry: replay check, expected revision, value, revision, audit, all or nothing.
-- KEYS: value, audit chain, its head, replay mark, history, heads of all histories.
-- ARGV: put|delete|seen|record, value, expected revision ('' where nothing may be there), fingerprint,
--   seconds to remember it ('' not to), expected head of the audit, new head, name in the heads,
--   its expected entry, its new entry, the revision as JSON ('' for none), revisions to keep, then
--   for each record its number, how many words, and its fields.
-- `seen` notes a value that another hand wrote (with an expected revision: only if that is still
-- there, else 'gone'), `record` writes the audit alone. 'moved' means that
-- the audit or the history has another end by now: look again. The audit keeps the newest hundred
-- thousand records, and up to a node of its stream more.
local made = redis.call('GET', KEYS[4])
if made then
  return made == ARGV[4] and 'replayed' or 'reused'
end
if ARGV[1] == 'put' or ARGV[1] == 'delete' then
  local there = redis.call('GET', KEYS[1])
  if (there and redis.sha1hex(there) or '') ~= ARGV[3] then
    return 'conflict'
  end
end
if ARGV[1] == 'seen' and ARGV[3] ~= '' then
  local there = redis.call('GET', KEYS[1])
  if (there and redis.sha1hex(there) or '-') ~= ARGV[3] then
    return 'gone'
  end
end
if (redis.call('GET', KEYS[3]) or '') ~= ARGV[6] then
  return 'moved'
end
if ARGV[11] ~= '' and (redis.call('HGET', KEYS[6], ARGV[8]) or '') ~= ARGV[9] then
  return 'moved'
end
-- First what can fail: where a key holds something else, nothing is changed.
redis.call('LLEN', KEYS[5])
local at = 13
while at <= #ARGV do
  local words = tonumber(ARGV[at + 1])
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', 100000, ARGV[at] .. '-0', unpack(ARGV, at + 2, at + 1 + words))
  at = at + 2 + words
end
if ARGV[7] ~= '' then
  redis.call('SET', KEYS[3], ARGV[7])
end
if ARGV[11] ~= '' then
  redis.call('RPUSH', KEYS[5], ARGV[11])
  redis.call('LTRIM', KEYS[5], -tonumber(ARGV[12]), -1)
  redis.call('HSET', KEYS[6], ARGV[8], ARGV[10])
end
if ARGV[1] == 'put' then
  redis.call('SET', KEYS[1], ARGV[2])
elseif ARGV[1] == 'delete' then
  redis.call('DEL', KEYS[1])
end
if ARGV[5] ~= '' then
  redis.call('SET', KEYS[4], ARGV[4], 'EX', ARGV[5])
end
-- For hosts whose server does not say what changes; a user without channels does without.
redis.pcall('PUBLISH', 'agent:changed', '')
return 'done'
