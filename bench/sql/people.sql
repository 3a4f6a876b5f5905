-- Minting an API token for alice needs an operator who is a member of alice.
grant alice to operator;
-- The login of PostGraphile, which becomes alice for each request.
grant alice to bob;
