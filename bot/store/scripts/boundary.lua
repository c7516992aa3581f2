-- Start a new conversation: history begins after this record. The entry is settled with it.
-- KEYS: fence, inbox, outbox, log   ARGV: token, entry, kind, body, then parts
local ids = {}
if redis.call('XDEL', KEYS[2], ARGV[2]) == 0 then return ids end
redis.call('XADD', KEYS[4], '*', 'k', ARGV[3], 'b', ARGV[4])
for i = 5, #ARGV do
  ids[#ids + 1] = redis.call('XADD', KEYS[3], '*', 'p', ARGV[i])
end
return ids
