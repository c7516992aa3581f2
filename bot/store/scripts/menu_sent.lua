-- Note the message that shows a menu.
-- KEYS: fence, the menu's message   ARGV: token, message, seconds that it is kept
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
return 1
