#include "nvs.h"
