-- Give an HTTP conversation back, unless something waits in it; it is due again with its next timer.
-- One of a single turn is kept for a while once that is over: nobody can name it any more.
-- KEYS: fence, lease, inbox, outbox, timers, lines:due, dead, lines:open, session
-- ARGV: token, line, how long such a one is kept (ms)
-- Returns whether it was given back.
if redis.call('XLEN', KEYS[3]) > 0 or redis.call('XLEN', KEYS[4]) > 0 then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local timer = redis.call('ZRANGE', KEYS[5], 0, 0, 'WITHSCORES')
local due = timer[2] and tonumber(timer[2]) * 1000
if due and due <= now then return 0 end
if due then
  redis.call('ZADD', KEYS[6], due, ARGV[2])
else
  redis.call('ZREM', KEYS[6], ARGV[2])
  local log = redis.call('HGET', KEYS[9], 'once')
  for _, key in ipairs(log and {log, KEYS[9], KEYS[1], KEYS[3], KEYS[4]} or {}) do
    redis.call('PEXPIRE', key, ARGV[3])
  end
end
if redis.call('XLEN', KEYS[7]) > 0 then redis.call('ZADD', KEYS[8], 'NX', 0, ARGV[2]) end
redis.call('DEL', KEYS[2])
return 1
