-- Goes in front of scripts that count money. A scope's name ends in its day, so that what was reserved
-- on one day is settled on that day.
local DAYS_KEPT = 3 * 86400

-- Fail before anything is written where a key of a scope, or of a ledger line, has the wrong type.
local function check_scope(scope)
  local key = 'budget:' .. scope
  redis.call('HLEN', key)
  redis.call('HLEN', key .. ':held')
  redis.call('ZCARD', key .. ':ends')
end
local function check_record(kind, body)
  if kind ~= 'usage' and kind ~= 'release' then return end
  local line = cjson.decode(body)
  if kind == 'usage' then redis.call('XLEN', 'ledger:' .. line.day) end
  for _, scope in ipairs(line.scopes) do check_scope(scope) end
end

-- Release the reservation of a name (`hold`).
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

-- Record something. One of the kind `usage` is a line of the ledger: it counts in each of its scopes,
-- and its reservation is released; one of the kind `release` only does the latter. Returns the id of
-- a record that is neither.
local function note(log, kind, body)
  if kind == 'release' then
    local unused = cjson.decode(body)
    for _, scope in ipairs(unused.scopes) do free(scope, unused.hold) end
    return
  end
  if kind ~= 'usage' then return redis.call('XADD', log, '*', 'k', kind, 'b', body) end
  local line = cjson.decode(body)
  redis.call('XADD', 'ledger:' .. line.day, '*', 'l', body)
  for _, scope in ipairs(line.scopes) do
    local key = 'budget:' .. scope
    redis.call('HINCRBY', key, 'tokens', line.tokens.total)
    redis.call('HINCRBY', key, 'micros', line.micros)
    redis.call('HINCRBY', key, 'requests', 1)
    redis.call('EXPIRE', key, DAYS_KEPT)
    if line.hold ~= '' then free(scope, line.hold) end
  end
end
