-- Put in front of the scripts that log records. A record of the kind `$` is a line of the ledger:
-- it is counted in each of its scopes, and what was set aside for it is free again.
local function note(log, kind, body)
  if kind ~= '$' then return redis.call('XADD', log, '*', 'k', kind, 'b', body) end
  local line = cjson.decode(body)
  redis.call('XADD', 'ledger:' .. line.day, '*', 'l', body)
  for _, scope in ipairs(line.scopes) do
    local key = 'budget:' .. scope .. ':' .. line.day
    redis.call('HINCRBY', key, 'tokens', line.tokens)
    redis.call('HINCRBY', key, 'micros', line.micros)
    redis.call('HINCRBY', key, 'requests', 1)
    redis.call('EXPIRE', key, 259200)
    if line.hold ~= '' then redis.call('HDEL', key .. ':held', line.hold) end
  end
end
