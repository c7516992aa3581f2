-- Store a message of an HTTP conversation, unless this turn was accepted before. Needs no fence: the
-- seen-set makes a repeat harmless. An owner on another host is notified.
-- KEYS: inbox, seen, lease, lines:due, session, turn, webhooks:due, log
-- ARGV: how long names are remembered (ms), line, our host, turn, JSON, owner of the session, instance,
--   digest of the message, seconds since the epoch, what is known of a task (JSON, or ''), whether a
--   webhook hears of its end (1 or 0), then the kind and body of each record with which the
--   transcript of a new session begins
-- Returns 'new', 'repeated', 'foreign' (the session is another's, or another instance's) or 'reused'
-- (the turn answers another message).
local held = redis.call('HMGET', KEYS[5], 'owner', 'instance')
if held[1] and (held[1] ~= ARGV[6] or held[2] ~= ARGV[7]) then return 'foreign' end
local answers = ARGV[2] .. ' ' .. ARGV[8]
local known = redis.call('GET', KEYS[6])
if known and known ~= answers then return 'reused' end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('ZADD', KEYS[2], 'NX', now, ARGV[4]) == 0 then return 'repeated' end
if not held[1] then
  redis.call('HSET', KEYS[5], 'owner', ARGV[6], 'instance', ARGV[7], 'at', ARGV[9])
  if ARGV[10] ~= '' then redis.call('HSET', KEYS[5], 'about', ARGV[10]) end
  if ARGV[11] == '1' then redis.call('ZADD', KEYS[7], '+inf', ARGV[2]) end
  for i = 12, #ARGV, 2 do redis.call('XADD', KEYS[8], '*', 'k', ARGV[i], 'b', ARGV[i + 1]) end
end
redis.call('SET', KEYS[6], answers, 'PX', ARGV[1])
redis.call('XADD', KEYS[1], '*', 'u', '0', 'r', ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[4], now, ARGV[2])
local lease = redis.call('GET', KEYS[3])
if lease and lease ~= ARGV[3] then redis.call('PUBLISH', 'wake:' .. ARGV[2], ARGV[2]) end
return 'new'
