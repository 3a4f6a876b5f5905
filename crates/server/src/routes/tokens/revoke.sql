select case
    when rolegate.revoke_api_token($1) then 'now'
    when exists (select from rolegate.list_api_tokens() t where t.token_id = $1) then 'before'
    else 'unknown'
end
