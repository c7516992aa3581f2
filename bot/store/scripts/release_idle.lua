-- Give an HTTP conversation back, unless something waits in it; it is due again with its next timer.
-- The fence moves, so that a beat on its way does not take the line for ours. One of a single turn that
-- is over is kept for a while: what lives forever elsewhere gets an end. The webhook of a task is due
-- from then on.
-- KEYS: fence, lease, inbox, outbox, timers, lines:due, dead, lines:open, session, webhooks:due
-- ARGV: token, line, how long one of a single turn is kept (ms; 0: it is none)
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
  if ARGV[3] ~= '0' then
    local agent = redis.call('HGET', KEYS[9], 'instance') or ''
    local log = '{' .. ARGV[2] .. '}:conv:0:' .. agent .. ':log'
    redis.call('DEL', KEYS[3], KEYS[4])
    for _, key in ipairs({KEYS[1], KEYS[9], log}) do redis.call('PEXPIRE', key, ARGV[3]) end
    if redis.call('ZSCORE', KEYS[10], ARGV[2]) == 'inf' then redis.call('ZADD', KEYS[10], now, ARGV[2]) end
  end
end
if redis.call('XLEN', KEYS[7]) > 0 then redis.call('ZADD', KEYS[8], 'NX', 0, ARGV[2]) end
redis.call('INCR', KEYS[1])
redis.call('DEL', KEYS[2])
return 1
