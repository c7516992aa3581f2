-- Count a request in every counter, or in none; a counter's minute begins with its first.
-- KEYS: counters   ARGV: the limit of each
-- Returns 0, or the number of the counter that has reached its limit.
for i, key in ipairs(KEYS) do
  if tonumber(redis.call('GET', key) or 0) >= tonumber(ARGV[i]) then return i end
end
for _, key in ipairs(KEYS) do
  if redis.call('INCR', key) == 1 then redis.call('EXPIRE', key, 60) end
end
return 0
