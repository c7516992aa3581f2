-- Append to the event streams of turns, each item once: a repeat finds another last entry than the one
-- that it follows. An item whose line has another owner by now is left out.
-- KEYS: the fence and the stream of each item
-- ARGV: the most entries of a stream, then of each item: token, lifetime (ms; 0: as it is), the entry
--   before it ('+': that of the item before it), kind, data, summary ('' for none)
-- Returns the id of each entry, '' where the token is stale.
local ids, repeated = {}, false
for i = 1, #KEYS / 2 do
  local stream, at = KEYS[2 * i], 6 * i - 4
  if redis.call('GET', KEYS[2 * i - 1]) ~= ARGV[at] then
    ids[i] = ''
  else
    local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    if ARGV[at + 2] ~= '+' then repeated = last and last[1] ~= ARGV[at + 2] end
    if repeated then
      ids[i] = last[1]
    else
      local fields = {'e', ARGV[at + 3], 'd', ARGV[at + 4]}
      if ARGV[at + 5] ~= '' then fields[5], fields[6] = 's', ARGV[at + 5] end
      ids[i] = redis.call('XADD', stream, 'MAXLEN', '~', ARGV[1], '*', unpack(fields))
      if ARGV[at + 1] ~= '0' then redis.call('PEXPIRE', stream, ARGV[at + 1]) end
    end
  end
end
return ids
