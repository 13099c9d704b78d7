-- Origin side of a cached behaviour: for how long an answer may be kept.
--
-- https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/Expiration.html
-- https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/HTTPStatusCodes.html

local KEPT_ERRORS = { [404] = true, [414] = true, [500] = true, [501] = true, [502] = true, [503] = true, [504] = true }
local KEPT_IF_TOLD = { [400] = true, [403] = true, [405] = true, [412] = true, [415] = true }
local MONTHS = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12 }

-- Seconds from now to an HTTP date; nil for anything else. os.time would read it in the local time zone.
local function seconds_until(date)
  local day, month, year, hour, minute, second = date:match("(%d+) (%a+) (%d+) (%d+):(%d+):(%d+) GMT")
  if not MONTHS[month] then return nil end
  local y, m = tonumber(year), MONTHS[month]
  if m <= 2 then y, m = y - 1, m + 12 end
  local days = 365 * y + math.floor(y / 4) - math.floor(y / 100) + math.floor(y / 400)
    + math.floor((153 * (m - 3) + 2) / 5) + tonumber(day) - 1 - 719468
  return days * 86400 + hour * 3600 + minute * 60 + second - os.time()
end

local function told(headers)
  local control = (headers:get("cache-control") or ""):lower()
  local age = control:match("s%-maxage=(%d+)") or control:match("max%-age=(%d+)")
  local expires = headers:get("expires")
  return control, age and tonumber(age) or (expires and (seconds_until(expires) or 0))
end

local function lifetime(status, headers, policy)
  local control, age = told(headers)
  if status >= 400 then
    if KEPT_ERRORS[status] or (KEPT_IF_TOLD[status] and age) then return math.max(policy.error, age or 0) end
    return 0
  end
  if headers:get("vary") == "*" and policy.min == 0 then return 0 end
  if control:find("no-store", 1, true) or control:find("no-cache", 1, true) or control:find("private", 1, true) then
    return policy.min
  end
  if not age then return math.max(policy.min, policy.default) end
  return math.max(policy.min, math.min(age, policy.max))
end

function envoy_on_request(handle)
  local headers = handle:headers()
  handle:streamInfo():dynamicMetadata():set("holdfast", "policy", headers:get("x-hf-policy") or "")
  for _, name in ipairs({ "x-hf-policy", "x-hf-key", "x-hf-pass", "x-hf-origin" }) do headers:remove(name) end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local noted = handle:streamInfo():dynamicMetadata():get("holdfast")
  local min, default, max, error, cookies = (noted and noted.policy or ""):match("^(%d+),(%d+),(%d+),(%d+),(%a+)$")
  if not min then return end
  local policy = { min = tonumber(min), default = tonumber(default), max = tonumber(max), error = tonumber(error) }
  local keep_s = lifetime(tonumber(headers:get(":status")), headers, policy)
  if cookies == "none" then headers:remove("set-cookie") end
  headers:replace("x-accel-expires", tostring(keep_s))
  headers:replace("x-hf-born", tostring(os.time()))
  if keep_s == 0 then headers:replace("x-hf-uncached", "1") end
end
