-- Put in front of every script: a key that holds the wrong type is named, as the server names none,
-- and a line's keys are looked at before anything is written, so that nothing is written by halves.
local redis = setmetatable({call = function(...)
  local found = redis.pcall(...)
  if type(found) == 'table' and found.err then
    local key = select(2, ...)
    local where = string.find(found.err, 'WRONGTYPE', 1, true) and ' key=' .. tostring(key) or ''
    error(found.err .. where, 0)
  end
  return found
end}, {__index = redis})
local LOOKS = {inbox = 'XLEN', outbox = 'XLEN', dead = 'XLEN', log = 'XLEN', open = 'HLEN',
  grants = 'HLEN', rests = 'HLEN', moved = 'HLEN', seen = 'ZCARD', timers = 'ZCARD'}
for _, key in ipairs(KEYS) do
  local look = LOOKS[string.match(key, '^{.*}.*:(%l+)$')]
  if look then redis.call(look, key) end
end
