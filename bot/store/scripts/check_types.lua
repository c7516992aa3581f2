-- Goes in front of every script: an error about a key of the wrong type names the key, which the
-- server does not, and the keys of a line are checked before anything is written. A channel that the
-- store refuses is done without.
local redis = setmetatable({call = function(...)
  local found = redis.pcall(...)
  if type(found) == 'table' and found.err and (...) ~= 'PUBLISH' then
    local key = select(2, ...)
    local where = string.find(found.err, 'WRONGTYPE', 1, true) and ' key=' .. tostring(key) or ''
    error(found.err .. where, 0)
  end
  return found
end}, {__index = redis})
local CHECKS = {inbox = 'XLEN', outbox = 'XLEN', dead = 'XLEN', log = 'XLEN', open = 'HLEN',
  grants = 'HLEN', rests = 'HLEN', moved = 'HLEN', seen = 'ZCARD', timers = 'ZCARD',
  frozen = 'ZCARD', failing = 'HLEN', forms = 'HLEN'}
for _, key in ipairs(KEYS) do
  local check = CHECKS[string.match(key, '^{.*}.*:(%l+)$')]
  if check then redis.call(check, key) end
end
