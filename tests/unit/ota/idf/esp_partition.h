#include "esp_ota_ops.h"
