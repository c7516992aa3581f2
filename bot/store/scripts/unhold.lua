-- What was set aside is not needed.
-- KEYS: fence   ARGV: token, hold, then the names of the scopes
for i = 3, #ARGV do look_at(ARGV[i]) end
for i = 3, #ARGV do free(ARGV[i], ARGV[2]) end
return 1
