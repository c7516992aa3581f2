-- Suspend a turn that waits for people: its records, the request, the question; its entry is settled.
-- KEYS: fence, open, log, outbox, inbox, approval, timers, then the parts of the prompt to keep
-- ARGV: token, entry, ordinal, nonce, request, due, lifetime of the prompt (s), number of records,
--   kind and body of each, then parts
-- Returns the id of the newest record, then the outbox ids (none if this was done before).
if redis.call('HGET', KEYS[2], 'entry') ~= ARGV[2] then
  return redis.error_reply('CLOSED ' .. KEYS[2])
end
if tonumber(redis.call('HGET', KEYS[2], 'writes')) >= tonumber(ARGV[3]) then
  return {redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1][1]}
end
local ids = {redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1][1]}
local after = 8 + tonumber(ARGV[8]) * 2
for i = 9, after, 2 do
  ids[1] = redis.call('XADD', KEYS[3], '*', 'k', ARGV[i], 'b', ARGV[i + 1])
end
for i = after + 1, #ARGV do
  ids[#ids + 1] = redis.call('XADD', KEYS[4], '*', 'p', ARGV[i])
end
stop_running(KEYS[2])
redis.call('HSET', KEYS[2], 'state', 'suspended', 'writes', ARGV[3], 'nonce', ARGV[4], 'tries', 0,
  'dark', 0)
redis.call('HDEL', KEYS[2], 'preview', 'hits', 'hit')
redis.call('HSET', KEYS[6], 'b', ARGV[5], 'v', 1)
redis.call('ZADD', KEYS[7], ARGV[6], ARGV[4])
redis.call('XDEL', KEYS[5], ARGV[2])
for i = 8, #KEYS do
  redis.call('EXPIRE', KEYS[i], ARGV[7])
end
return ids
