-- Replace an approval request after a press, a typed reason or its end; settle what caused it.
-- KEYS: fence, inbox, outbox, approval, timers, grants
-- ARGV: token, entry ('' where none caused it), nonce, version that was read, request, due,
--   number of grants, name and body of each, then parts
-- Returns {1, outbox ids …}; {0} if this was done before; {-1} if the request has changed.
if ARGV[2] ~= '' and #redis.call('XRANGE', KEYS[2], ARGV[2], ARGV[2]) == 0 then return {0} end
if redis.call('HGET', KEYS[4], 'v') ~= ARGV[4] then return {-1} end
redis.call('HSET', KEYS[4], 'b', ARGV[5], 'v', ARGV[4] + 1)
if redis.call('ZSCORE', KEYS[5], ARGV[3]) then
  redis.call('ZADD', KEYS[5], ARGV[6], ARGV[3])
end
local after = 7 + tonumber(ARGV[7]) * 2
for i = 8, after, 2 do
  redis.call('HSET', KEYS[6], ARGV[i], ARGV[i + 1])
end
local ids = {1}
for i = after + 1, #ARGV do
  ids[#ids + 1] = redis.call('XADD', KEYS[3], '*', 'p', ARGV[i])
end
if ARGV[2] ~= '' then redis.call('XDEL', KEYS[2], ARGV[2]) end
return ids
