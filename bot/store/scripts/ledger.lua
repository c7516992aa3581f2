-- Put in front of the scripts that count money. A scope's name ends in its day, so that what was
-- set aside on one day is settled on that day.
local DAYS_KEPT = 3 * 86400

-- The keys of a scope, and of a line of the ledger, hold what they should: else nothing is written.
local function look_at(scope)
  local key = 'budget:' .. scope
  redis.call('HLEN', key)
  redis.call('HLEN', key .. ':held')
  redis.call('ZCARD', key .. ':ends')
end
local function look_at_money(kind, body)
  if kind ~= '$' and kind ~= '$free' then return end
  local line = cjson.decode(body)
  if kind == '$' then redis.call('XLEN', 'ledger:' .. line.day) end
  for _, scope in ipairs(line.scopes) do look_at(scope) end
end

-- What was set aside under a name is free again.
local function free(scope, hold)
  local key = 'budget:' .. scope
  local was = redis.call('HGET', key .. ':held', hold)
  if not was then return end
  local tokens, micros = string.match(was, '^(%d+):(%d+)$')
  redis.call('HINCRBY', key, 'heldTokens', 0 - tonumber(tokens))
  redis.call('HINCRBY', key, 'heldMicros', 0 - tonumber(micros))
  redis.call('HDEL', key .. ':held', hold)
  redis.call('ZREM', key .. ':ends', hold)
end

-- Log a record. One of the kind `$` is a line of the ledger: it is counted in each of its scopes,
-- and what was set aside for it is free again; one of the kind `$free` only says that. Returns the id
-- of a record that is neither.
local function note(log, kind, body)
  if kind == '$free' then
    local unused = cjson.decode(body)
    for _, scope in ipairs(unused.scopes) do free(scope, unused.hold) end
    return
  end
  if kind ~= '$' then return redis.call('XADD', log, '*', 'k', kind, 'b', body) end
  local line = cjson.decode(body)
  redis.call('XADD', 'ledger:' .. line.day, '*', 'l', body)
  for _, scope in ipairs(line.scopes) do
    local key = 'budget:' .. scope
    redis.call('HINCRBY', key, 'tokens', line.tokens)
    redis.call('HINCRBY', key, 'micros', line.micros)
    redis.call('HINCRBY', key, 'requests', 1)
    redis.call('EXPIRE', key, DAYS_KEPT)
    if line.hold ~= '' then free(scope, line.hold) end
  end
end
