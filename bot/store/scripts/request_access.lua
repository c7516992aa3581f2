-- Open a request of a subject, or find the open one. Needs no fence: a subject has one at a time, and
-- none once an admin has let it in or blocked it.
-- KEYS: request of the subject, the new request, open requests, counter of the hour, the subject's
--   documents here and everywhere
-- ARGV: nonce, the request, lifetime (s), now, how many in an hour
-- Returns the nonce of the open request; 'known'; or 'too_many' where there were too many lately.
if redis.call('EXISTS', KEYS[5], KEYS[6]) > 0 then return 'known' end
local held = redis.call('GET', KEYS[1])
if held and redis.call('EXISTS', 'access:request:' .. held) == 1 then return held end
local lately = redis.call('INCR', KEYS[4])
if lately == 1 then redis.call('EXPIRE', KEYS[4], 3600) end
if lately > tonumber(ARGV[5]) then return 'too_many' end
redis.call('HSET', KEYS[2], 'what', ARGV[2], 'role', '', 'by', '')
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[4])
redis.call('ZADD', KEYS[3], ARGV[4] + ARGV[3], ARGV[1])
return ARGV[1]
