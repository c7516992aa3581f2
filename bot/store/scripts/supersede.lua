-- End a suspended turn, which does not go on: its calls are answered, its request is closed.
-- KEYS: fence, open, log, outbox, approval, timers, inbox
-- ARGV: token, entry, nonce, version that was read, request, lifetime of the request (s), entry to
--   settle ('' for none), number of records, kind and body of each, then parts
-- Returns {1, outbox ids …}; {0} if the turn is not open any more; {-1} if the request has changed.
if redis.call('HGET', KEYS[2], 'entry') ~= ARGV[2] then
  if ARGV[7] ~= '' then redis.call('XDEL', KEYS[7], ARGV[7]) end
  return {0}
end
local version = redis.call('HGET', KEYS[5], 'v')
if version and version ~= ARGV[4] then return {-1} end
local after = 8 + tonumber(ARGV[8]) * 2
for i = 9, after, 2 do
  redis.call('XADD', KEYS[3], '*', 'k', ARGV[i], 'b', ARGV[i + 1])
end
local ids = {1}
for i = after + 1, #ARGV do
  ids[#ids + 1] = redis.call('XADD', KEYS[4], '*', 'p', ARGV[i])
end
redis.call('DEL', KEYS[2])
if version then
  redis.call('HSET', KEYS[5], 'b', ARGV[5], 'v', version + 1)
  redis.call('EXPIRE', KEYS[5], ARGV[6])
end
redis.call('ZREM', KEYS[6], ARGV[3])
redis.call('XDEL', KEYS[7], ARGV[2])
if ARGV[7] ~= '' then redis.call('XDEL', KEYS[7], ARGV[7]) end
return ids
