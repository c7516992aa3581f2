-- Open a turn with the person's message, or find it open; returns its transcript.
-- KEYS: fence, open, log, then a key for each part of the prompt to store, then inbox
-- ARGV: token, entry, agent, render, kind, body, last known record id, turns, lifetime of the prompt
--   (s), each part of it, then who answers, then an id of this life of the host, then how far apart
--   ends of the host must be (ms), then how many attempts make a turn a suspect (0: begin it all the
--   same), then an id of this call: the same call made again counts once
-- Returns {1 if it was open, 2 if another turn is, 3 if it is a suspect, else 0; {field, value …} of
-- the open turn; {id, kind, body} of each record}, for a suspect also when it may begin (ms).
-- `hits` counts the ends that speak against a turn: nothing else ran at that moment, and no such end
-- was close. What ran beside it and was over by then does not clear it.
-- A turn that can never go on must not block its conversation forever: one that is neither in the
-- inbox nor waits for an approval, or one whose parts are gone from the outbox.
local function is_abandoned()
  local line = string.match(KEYS[2], '^{.-}')
  local turn = redis.call('HMGET', KEYS[2], 'entry', 'nonce', 'state')
  if turn[3] == 'sending' then return redis.call('XLEN', line .. ':outbox') == 0 end
  local asks = turn[2] and redis.call('EXISTS', line .. ':approval:' .. turn[2]) == 1
  return not asks and #redis.call('XRANGE', KEYS[#KEYS], turn[1], turn[1]) == 0
end
local function was_alone(life)
  return life and redis.call('ZCARD', running_in(life)) == 1
    and redis.call('ZSCORE', running_in(life), KEYS[2])
end
local resumed, runs = 0, true
local call, suspect, apart = ARGV[#ARGV], tonumber(ARGV[#ARGV - 1]), tonumber(ARGV[#ARGV - 2])
local life, time = ARGV[#ARGV - 3], redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entry = redis.call('HGET', KEYS[2], 'entry')
if entry == ARGV[2] then
  if redis.call('HGET', KEYS[2], 'call') ~= call then
    local turn = redis.call('HMGET', KEYS[2], 'tries', 'state', 'began', 'life', 'hit')
    if suspect > 0 and tonumber(turn[1]) >= suspect and turn[2] ~= 'sending' then
      local again = math.max(0, (tonumber(turn[3]) or 0) + apart - now)
      return {3, redis.call('HGETALL', KEYS[2]), {}, again}
    end
    if was_alone(turn[4]) and now - (tonumber(turn[5]) or 0) >= apart then
      redis.call('HINCRBY', KEYS[2], 'hits', 1)
      redis.call('HSET', KEYS[2], 'hit', now)
    end
    redis.call('HSET', KEYS[2], 'call', call, 'first', 0, 'began', now, 'life', life)
    redis.call('HINCRBY', KEYS[2], 'tries', 1)
    -- An attempt that wrote nothing may have asked the model; one with another agent only reads.
    if redis.call('HGET', KEYS[2], 'agent') == ARGV[3] then redis.call('HINCRBY', KEYS[2], 'dark', 1) end
  end
  local open = redis.call('HMGET', KEYS[2], 'first', 'state')
  resumed, runs = 1 - tonumber(open[1] or 0), open[2] ~= 'sending'
elseif #redis.call('XRANGE', KEYS[#KEYS], ARGV[2], ARGV[2]) == 0 then
  -- The turn is over: its answer was sent while the store did not answer this host.
  return {1, {'entry', ARGV[2], 'state', 'sending', 'render', '', 'writes', '0', 'tries', '1'}, {}}
elseif entry and not is_abandoned() then
  return {2, redis.call('HGETALL', KEYS[2]), {}}
else
  if entry then stop_running(KEYS[2]) end
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[2], 'entry', ARGV[2], 'agent', ARGV[3], 'state', 'running',
    'attribution', ARGV[#ARGV - 4], 'render', ARGV[4], 'writes', 0, 'tries', 1, 'dark', 1, 'call', call, 'first', 1,
    'began', now, 'life', life)
  redis.call('XADD', KEYS[3], '*', 'k', ARGV[5], 'b', ARGV[6])
  for i = 4, #KEYS - 1 do
    redis.call('SET', KEYS[i], ARGV[i + 6], 'EX', ARGV[9])
  end
end
if runs then
  redis.call('ZADD', running_in(life), now, KEYS[2])
  redis.call('EXPIRE', running_in(life), 172800)
end
local found = {}
if ARGV[7] ~= '' then
  for _, item in ipairs(redis.call('XRANGE', KEYS[3], '(' .. ARGV[7], '+')) do
    found[#found + 1] = {item[1], item[2][2], item[2][4]}
  end
else
  local turns, last, done = 0, '+', false
  while not done do
    local block = redis.call('XREVRANGE', KEYS[3], last, '-', 'COUNT', 64)
    done = #block < 64
    for _, item in ipairs(block) do
      local kind = item[2][2]
      if kind == 'boundary' then done = true break end
      found[#found + 1] = {item[1], kind, item[2][4]}
      last = '(' .. item[1]
      if kind == 'person' then turns = turns + 1 end
      if turns >= tonumber(ARGV[8]) then done = true break end
    end
  end
  local n = #found
  for i = 1, math.floor(n / 2) do found[i], found[n - i + 1] = found[n - i + 1], found[i] end
end
return {resumed, redis.call('HGETALL', KEYS[2]), found}
