-- Viewer side of a cached behaviour: what identifies an answer, and what the viewer is told about it.
--
-- CloudFront sends to the origin only what is part of the cache key:
-- https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/controlling-the-cache-key.html

local KEPT = {
  [":authority"] = true, [":method"] = true, [":path"] = true, [":scheme"] = true,
  ["x-amz-cf-id"] = true, ["x-forwarded-for"] = true, ["x-forwarded-proto"] = true, ["via"] = true,
  ["if-none-match"] = true, ["if-modified-since"] = true, ["range"] = true, ["if-range"] = true,
}
local PASS_S, PASS_MAX = 10, 10000
local passed, count = {}, 0 -- keys whose answer must not be stored: nobody waits for one of them

local function escape(text)
  return (text:gsub("[^%w%-%._~/=&]", function(c) return string.format("%%%02X", string.byte(c)) end))
end

local function set(names)
  local found = {}
  for _, name in ipairs(names) do found[name] = true end
  return found
end

-- Keeps the `name=value` parts of `text` that `mode` ("all", "none" or a list of names) selects.
local function chosen(text, mode, pattern, separator)
  if mode == "all" then return text end
  if mode == "none" or not text then return nil end
  local wanted, kept = set(mode), {}
  for part in text:gmatch(pattern) do
    if wanted[part:match("^[^=]*")] then kept[#kept + 1] = part end
  end
  return #kept > 0 and table.concat(kept, separator) or nil
end

local function encodings(accepted)
  local kept = {}
  for token in (accepted or ""):lower():gmatch("[^,]+") do
    local name, refused = token:match("^%s*([%w%*]+)"), token:match("q=0%.?0*%s*$")
    if not refused and (name == "br" or name == "gzip") then kept[name] = true end
  end
  if kept.br and kept.gzip then return "br,gzip" end
  return kept.br and "br" or kept.gzip and "gzip" or nil
end

local function strip(headers, extra)
  local gone = {}
  for name in pairs(headers) do
    if not KEPT[name] and not extra[name] then gone[#gone + 1] = name end
  end
  for _, name in ipairs(gone) do headers:remove(name) end
end

function envoy_on_request(handle)
  local policy, headers = handle:filterContext(), handle:headers()
  local path = headers:get(":path")
  local mark = path:find("?", 1, true)
  local bare = mark and path:sub(1, mark - 1) or path
  local query = chosen(mark and path:sub(mark + 1) or nil, policy:get("query"), "[^&]+", "&")
  local cookie = chosen(headers:get("cookie"), policy:get("cookies"), "%s*([^;]+)", "; ")
  local encoding = policy:get("compress") and encodings(headers:get("accept-encoding")) or nil
  local names = policy:get("headers")

  local key = { policy:get("generation"), policy:get("origin"), escape(bare), escape(query or ""),
    escape(cookie or ""), encoding or "" }
  for _, name in ipairs(names) do key[#key + 1] = escape(headers:get(name) or "") end
  key = table.concat(key, "|")

  strip(headers, set(names))
  if query ~= nil then headers:replace(":path", bare .. "?" .. query) else headers:replace(":path", bare) end
  if cookie then headers:replace("cookie", cookie) end
  if policy:get("compress") then headers:replace("accept-encoding", encoding or "identity") end
  if not headers:get("user-agent") then headers:add("user-agent", "Amazon CloudFront") end
  headers:replace("x-hf-key", key)
  headers:replace("x-hf-policy", policy:get("ttl"))
  headers:replace("x-hf-origin", policy:get("origin"))
  local until_s = passed[key]
  if until_s and until_s > os.time() then headers:replace("x-hf-pass", "1") end
  handle:streamInfo():dynamicMetadata():set("holdfast", "key", key)
end

local SAID = { HIT = "Hit", STALE = "Hit", UPDATING = "Hit", REVALIDATED = "RefreshHit" }

function envoy_on_response(handle)
  local headers = handle:headers()
  local state = headers:get("x-hf-cache")
  if not state then return end
  local status, born = tonumber(headers:get(":status")), tonumber(headers:get("x-hf-born"))
  headers:replace("x-cache", (status >= 400 and "Error" or SAID[state] or "Miss") .. " from cloudfront")
  if born and SAID[state] and state ~= "REVALIDATED" then
    headers:replace("age", tostring(math.max(0, os.time() - born)))
  end
  if headers:get("x-hf-uncached") then
    if count >= PASS_MAX then passed, count = {}, 0 end
    local noted = handle:streamInfo():dynamicMetadata():get("holdfast")
    if noted and not passed[noted.key] then count = count + 1 end
    if noted then passed[noted.key] = os.time() + PASS_S end
  end
  for _, name in ipairs({ "x-hf-cache", "x-hf-born", "x-hf-uncached" }) do headers:remove(name) end
end
