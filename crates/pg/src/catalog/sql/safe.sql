-- Declarations that still fit the function's definition. The engine's function returns only those.
select s.function_oid from rolegate.safe_functions() s
