-- Put in front of the scripts by which others reach a line: its owner is told, and can look it up.
local function notify(key, stirred, stirs)
  local line = string.match(key, '^{(.-)}')
  redis.call('ZADD', stirred, redis.call('INCR', stirs), line)
  redis.call('PUBLISH', 'wake:' .. line, line)
end
