-- Append to the event streams of turns, each item once: a repeat finds itself behind the entry that it
-- follows. An item whose line has another owner by now is left out, and one that finds another
-- entry in its place.
-- KEYS: the fence and the stream of each item
-- ARGV: the most entries of a stream, then of each item: token, lifetime (ms; 0: as it is), the entry
--   before it ('+': that of the item before it), kind, data, summary ('' for none)
-- Returns the id of each entry, '' where the token is stale, '?' where another entry is there.
local ids = {}
local function behind(stream, before, kind, data)
  if before == '' or before == '?' then return '?' end
  local found = redis.call('XRANGE', stream, '(' .. before, '+', 'COUNT', 1)[1]
  if found and found[2][2] == kind and found[2][4] == data then return found[1] end
  return '?'
end
for i = 1, #KEYS / 2 do
  local stream, at = KEYS[2 * i], 6 * i - 4
  local before = ARGV[at + 2]
  if before == '+' then before = ids[i - 1] end
  if redis.call('GET', KEYS[2 * i - 1]) ~= ARGV[at] then
    ids[i] = ''
  else
    local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    if before == '?' or (last and last[1] ~= before) then
      ids[i] = behind(stream, before, ARGV[at + 3], ARGV[at + 4])
    else
      local fields = {'e', ARGV[at + 3], 'd', ARGV[at + 4]}
      if ARGV[at + 5] ~= '' then fields[5], fields[6] = 's', ARGV[at + 5] end
      ids[i] = redis.call('XADD', stream, 'MAXLEN', '~', ARGV[1], '*', unpack(fields))
      if ARGV[at + 1] ~= '0' then redis.call('PEXPIRE', stream, ARGV[at + 1]) end
    end
  end
end
return ids
