-- Changes with tokens, keys, budgets, channels and declarations.
select rolegate.epoch()
