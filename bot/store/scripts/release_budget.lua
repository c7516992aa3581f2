-- Release the reservation of a name in some scopes.
-- KEYS: fence   ARGV: token, hold, then the names of the scopes
for i = 3, #ARGV do check_scope(ARGV[i]) end
for i = 3, #ARGV do free(ARGV[i], ARGV[2]) end
return 1
