-- Remove a part that was never delivered: its turn's history says so. One that was refused is kept as
-- a dead letter, and its chat is told, once for a turn.
-- KEYS: fence, outbox, dead, told, then open, inbox and log where the part belongs to a turn
-- ARGV: token, part, entry, why, record, how long the chat counts as told (s), at, then the letter and
--   what the chat is told where the part was refused
-- Returns the id of what the chat is told, or nothing.
local ids = {}
if #redis.call('XRANGE', KEYS[2], ARGV[2], ARGV[2]) == 0 then return ids end
if KEYS[7] then redis.call('XADD', KEYS[7], '*', 'k', 'undelivered', 'b', ARGV[5]) end
if ARGV[8] then
  redis.call('XADD', KEYS[3], '*', 'p', ARGV[8], 'w', ARGV[4], 'a', ARGV[7])
  if redis.call('SET', KEYS[4], 1, 'NX', 'EX', ARGV[6]) then
    ids[1] = redis.call('XADD', KEYS[2], '*', 'p', ARGV[9])
  end
end
end_part(KEYS[2], ARGV[2], KEYS[5], KEYS[6], ARGV[3])
return ids
