-- One change of the registry: replay check, expected revision, value, audit, all or nothing.
-- KEYS: value, audit stream, replay mark. ARGV: put|delete|record, value, expected revision
-- ('' where nothing may be there), fingerprint, seconds to remember it, then the audit's fields.
-- The audit keeps the newest hundred thousand entries, and up to a node of its stream more.
local made = redis.call('GET', KEYS[3])
if made then
  return made == ARGV[4] and 'replayed' or 'reused'
end
if ARGV[1] ~= 'record' then
  local there = redis.call('GET', KEYS[1])
  local revision = there and redis.sha1hex(there) or ''
  if revision ~= ARGV[3] then
    return 'conflict'
  end
end
-- First what can fail: where the audit's key holds something else, nothing is changed.
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 100000, '*', unpack(ARGV, 6))
if ARGV[1] == 'put' then
  redis.call('SET', KEYS[1], ARGV[2])
elseif ARGV[1] == 'delete' then
  redis.call('DEL', KEYS[1])
end
redis.call('SET', KEYS[3], ARGV[4], 'EX', ARGV[5])
-- For hosts whose server does not say what changes; a user without channels does without.
redis.pcall('PUBLISH', 'agent:changed', '')
return 'done'
