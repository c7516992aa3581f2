-- Remove a part that was never delivered: its turn's history says so. One that was refused is kept as
-- a dead letter, and its chat is told, once for a turn; of a chat that cannot be told, the newest stay.
-- KEYS: fence, outbox, failing, dead, told, closed, then open, inbox and log where the part belongs to
--   a turn
-- ARGV: token, part, entry, why, record, how long the chat counts as told (s), at, how many letters of
--   a closed chat are kept, for how long that is known (s), then the letter where the part is kept, and
--   what the chat is told
-- Returns the id of what the chat is told, or nothing.
local ids = {}
if #redis.call('XRANGE', KEYS[2], ARGV[2], ARGV[2]) == 0 then return ids end
local held = ARGV[10] and not ARGV[11] and (redis.call('GET', KEYS[6]) or '')
if KEYS[9] then redis.call('XADD', KEYS[9], '*', 'k', 'undelivered', 'b', ARGV[5]) end
if ARGV[10] then
  local letter = redis.call('XADD', KEYS[4], '*', 'p', ARGV[10], 'w', ARGV[4], 'a', ARGV[7])
  if held then
    local letters = {}
    for id in string.gmatch(held .. ' ' .. letter, '%S+') do letters[#letters + 1] = id end
    while #letters > tonumber(ARGV[8]) do redis.call('XDEL', KEYS[4], table.remove(letters, 1)) end
    redis.call('SET', KEYS[6], table.concat(letters, ' '), 'EX', ARGV[9])
  elseif redis.call('SET', KEYS[5], 1, 'NX', 'EX', ARGV[6]) then
    ids[1] = redis.call('XADD', KEYS[2], '*', 'p', ARGV[11])
  end
end
end_part(KEYS[2], ARGV[2], KEYS[3], KEYS[7], KEYS[8], ARGV[3])
return ids
