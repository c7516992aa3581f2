-- Goes in front of scripts by which others reach a line: they notify its owner, who can also look up
-- which lines were changed since.
local function notify(key, changed, changes)
  local line = string.match(key, '^{(.-)}')
  redis.call('ZADD', changed, redis.call('INCR', changes), line)
  redis.call('PUBLISH', 'wake:' .. line, line)
end
